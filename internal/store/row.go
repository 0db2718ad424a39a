package store

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/store/db"
)

// Row is a row of a table, its columns in the order of the table.
type Row []Column

// Column is a column of a row.
type Column struct {
	Name  string
	Value json.RawMessage // without white space
}

// rowsOf reads the rows of entities; one without a row is left out. It leaves out
// email_rank, which matters to this package alone.
func (s *Store) rowsOf(ctx context.Context, tx db.DBTX, keys []key) (map[key]Row, error) {
	p := &db.RowGetManyParams{}
	for _, k := range keys {
		p.Kind, p.ClerkID = append(p.Kind, string(k.kind)), append(p.ClerkID, k.id)
	}
	found, err := s.q.RowGetMany(ctx, tx, p)
	if err != nil {
		return nil, err
	}
	rows := make(map[key]Row, len(found))
	for _, r := range found {
		k := key{clerk.Kind(r.Kind), r.ClerkID}
		row, err := ReadRow(r.Columns)
		if err != nil {
			return nil, fmt.Errorf("read row: %w", err)
		}
		rows[k] = slices.DeleteFunc(row, func(c Column) bool { return c.Name == "email_rank" })
	}
	return rows, nil
}

// ReadRow reads the members of a JSON object. Columns whose names end with _at are
// times: it rewrites them in UTC, which PostgreSQL writes as +00:00 and Go as Z.
func ReadRow(object []byte) (Row, error) {
	dec := jsontext.NewDecoder(bytes.NewReader(object))
	if _, err := dec.ReadToken(); err != nil {
		return nil, err
	}
	row := Row{}
	for dec.PeekKind() != '}' {
		name, err := dec.ReadToken()
		if err != nil {
			return nil, err
		}
		c := Column{Name: name.String()}
		value, err := dec.ReadValue()
		if err != nil {
			return nil, err
		}
		var at time.Time
		var text bytes.Buffer
		switch {
		case strings.HasSuffix(c.Name, "_at") && value.Kind() == '"' && json.Unmarshal(value, &at) == nil:
			c.Value, err = json.Marshal(at.UTC())
		default:
			err = json.Compact(&text, value)
			c.Value = text.Bytes()
		}
		if err != nil {
			return nil, err
		}
		row = append(row, c)
	}
	return row, nil
}

// MarshalJSON implements json.Marshaler: an object, null when there is no row.
func (r Row) MarshalJSON() ([]byte, error) {
	if r == nil {
		return []byte("null"), nil
	}
	object := []byte{'{'}
	for i, c := range r {
		if i > 0 {
			object = append(object, ',')
		}
		name, err := jsontext.AppendQuote(object, c.Name)
		if err != nil {
			return nil, err
		}
		object = append(append(name, ':'), c.Value...)
	}
	return append(object, '}'), nil
}
