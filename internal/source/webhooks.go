package source

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/go-json-experiment/json"
)

// ErrNoWebhooks means that the instance has no webhook endpoint, and never had one.
var ErrNoWebhooks = errors.New("the Clerk instance has no webhook endpoint")

// WebhookPage returns a link to the webhook page of the instance. It logs in whoever
// opens it, once: it is for the eyes of the operator, not for a log. The error is
// [ErrNoWebhooks] when there is no such page yet. It sends one request, and does not retry.
func (c *Client) WebhookPage(ctx context.Context) (string, error) {
	const path = "/webhooks/svix_url"
	if err := c.budget.wait(ctx); err != nil {
		return "", err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+path, nil)
	if err != nil {
		return "", fmt.Errorf("POST %s: CLERK_API_URL is no address", path)
	}
	r.Header.Set("Authorization", "Bearer "+c.key)
	r.Header.Set("Clerk-API-Version", apiVersion)
	r.Header.Set("User-Agent", "clerksync")
	answer, err := c.http.Do(r)
	if failed, ok := errors.AsType[*url.Error](err); ok { // which quotes the address
		return "", fmt.Errorf("POST %s: %w", path, failed.Err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		refusal, _ := errors.AsType[*APIError](readError(path, answer))
		if refusal.Code == "svix_app_missing" {
			return "", ErrNoWebhooks
		}
		return "", fmt.Errorf("POST %s: answered with %d %s", path, refusal.Status, refusal.Code)
	}
	var page struct {
		URL string `json:"svix_url"`
	}
	err = json.UnmarshalRead(http.MaxBytesReader(nil, answer.Body, maxErrorBody), &page)
	if u, parseErr := url.Parse(page.URL); err != nil || parseErr != nil || u.Scheme != "https" || u.Host == "" {
		return "", fmt.Errorf("POST %s: %w", path, errUnreadable)
	}
	return page.URL, nil
}
