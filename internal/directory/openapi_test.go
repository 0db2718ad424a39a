package directory_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
)

// description is openapi.json, which every answer is validated against, more strictly than a
// client should be: no other field, and no other code. The schemas of OpenAPI 3.1 are JSON
// Schemas.
type description struct {
	document map[string]any

	mu       sync.Mutex
	compiler *jsonschema.Compiler
}

const descriptionURL = "https://clerksync.test/openapi.json"

var openAPI = sync.OnceValues(func() (*description, error) {
	text, err := os.ReadFile("openapi.json")
	if err != nil {
		return nil, err
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	tighten(document)
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft2020)
	compiler.AssertFormat()
	return &description{document: document.(map[string]any), compiler: compiler}, compiler.AddResource(descriptionURL, document)
})

// tighten forbids fields that an object does not name, and codes besides the examples.
func tighten(value any) {
	switch v := value.(type) {
	case map[string]any:
		properties, _ := v["properties"].(map[string]any)
		if v["type"] == "object" && properties != nil {
			v["additionalProperties"] = false
		}
		if code, ok := properties["code"].(map[string]any); ok && code["examples"] != nil {
			code["enum"] = code["examples"]
		}
		for _, inner := range v {
			tighten(inner)
		}
	case []any:
		for _, inner := range v {
			tighten(inner)
		}
	}
}

// resolve follows a path of names through the document, and the references on it. It
// returns where that leads to.
func (d *description) resolve(names ...string) (at string, value any, err error) {
	value, at = d.document, ""
	for _, name := range names {
		object, _ := value.(map[string]any)
		if value = object[name]; value == nil {
			return "", nil, fmt.Errorf("openapi.json has no %s in %q", name, at)
		}
		at += "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
		for {
			object, _ = value.(map[string]any)
			ref, isRef := object["$ref"].(string)
			if !isRef {
				break
			}
			if at, value, err = d.resolve(strings.Split(strings.TrimPrefix(ref, "#/"), "/")...); err != nil {
				return "", nil, err
			}
		}
	}
	return at, value, nil
}

// validate returns an error for an answer that is not as the document says.
func (d *description) validate(path string, status int, header http.Header, body []byte) error {
	response := []string{"paths", path, "get", "responses", fmt.Sprint(status)}
	if status == http.StatusMethodNotAllowed {
		response[4] = "default"
	}
	_, described, err := d.resolve(response...)
	if err != nil {
		return err
	}
	headers, _ := described.(map[string]any)["headers"].(map[string]any)
	for name := range headers {
		if _, there := header[http.CanonicalHeaderKey(name)]; !there {
			return fmt.Errorf("there is no header %s", name)
		}
		if err := d.check(header.Get(name), append(response, "headers", name, "schema")...); err != nil {
			return fmt.Errorf("header %s: %w", name, err)
		}
	}
	if _, hasBody := described.(map[string]any)["content"]; !hasBody {
		if len(body) > 0 {
			return fmt.Errorf("there is a body: %s", body)
		}
		return nil
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return err
	}
	return d.check(value, append(response, "content", header.Get("Content-Type"), "schema")...)
}

func (d *description) check(value any, schema ...string) error {
	at, described, err := d.resolve(schema...)
	if err != nil {
		return err
	}
	if text, isText := value.(string); isText && described.(map[string]any)["type"] == "integer" { // of a header
		if value, err = jsonschema.UnmarshalJSON(strings.NewReader(text)); err != nil {
			return err
		}
	}
	d.mu.Lock()
	compiled, err := d.compiler.Compile(descriptionURL + "#" + at)
	d.mu.Unlock()
	if err != nil {
		return err
	}
	return compiled.Validate(value)
}

// requireDescribed requires that an answer is as the document says.
func requireDescribed(t testing.TB, req *http.Request, r *reply) {
	t.Helper()
	d, err := openAPI()
	require.NoError(t, err)
	require.NoError(t, d.validate(req.URL.Path, r.StatusCode, r.Header, r.body), "%s %d", req.URL, r.StatusCode)
}

// TestOpenAPI: the document is valid by the schema of OpenAPI 3.1, and is what the API
// serves.
func TestOpenAPI(t *testing.T) {
	t.Parallel()
	compiled, err := jsonschema.NewCompiler().Compile("testdata/openapi-3.1.json")
	require.NoError(t, err)
	text, err := os.ReadFile("openapi.json")
	require.NoError(t, err)
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	require.NoError(t, err)
	require.NoError(t, compiled.Validate(document))
	require.Error(t, compiled.Validate(map[string]any{"openapi": "3.1.0"}))

	served := newAPI(t).get("/api/openapi.json", "")
	require.Equal(t, http.StatusOK, served.StatusCode)
	require.Equal(t, string(text), string(served.body))

	// Clients made from it take what may be added.
	require.NotContains(t, string(text), "additionalProperties")
	require.NotContains(t, string(text), `"enum"`)
}

// TestOpenAPINoticesOtherAnswers: an answer that the document does not describe is noticed.
func TestOpenAPINoticesOtherAnswers(t *testing.T) {
	t.Parallel()
	d, err := openAPI()
	require.NoError(t, err)
	asJSON, asProblem := http.Header{"Content-Type": {"application/json"}}, http.Header{
		"Content-Type": {"application/problem+json"}, "Clerksync-Reason": {"x"}, "Www-Authenticate": {"Bearer x"}, "Retry-After": {"1"},
	}
	const aProblem = `{"type":"https://a.example","title":"t","status":%d,"detail":"d","code":%q}`
	require.NoError(t, d.validate("/api/profile", 401, asProblem, fmt.Appendf(nil, aProblem, 401, "token_expired")))
	for name, tt := range map[string]struct {
		status int
		header http.Header
		body   string
	}{
		"no profile":               {200, asJSON, `{}`},
		"a list":                   {200, asJSON, `[]`},
		"no JSON":                  {200, asJSON, `x`},
		"a code of no status":      {401, asProblem, fmt.Sprintf(aProblem, 401, "made_up")},
		"a code of another status": {401, asProblem, fmt.Sprintf(aProblem, 401, "not_a_member")},
		"another status":           {401, asProblem, fmt.Sprintf(aProblem, 403, "token_expired")},
		"a field more":             {401, asProblem, `{"secret":1,` + fmt.Sprintf(aProblem, 401, "token_expired")[1:]},
		"a header less":            {401, http.Header{"Content-Type": {"application/problem+json"}}, fmt.Sprintf(aProblem, 401, "token_expired")},
		"another content type":     {401, asJSON, fmt.Sprintf(aProblem, 401, "token_expired")},
		"no such status":           {418, asProblem, fmt.Sprintf(aProblem, 418, "token_expired")},
	} {
		require.Error(t, d.validate("/api/profile", tt.status, tt.header, []byte(tt.body)), name)
	}
}
