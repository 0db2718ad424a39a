package store_test

import (
	"encoding/json"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/clerksync/clerksync/internal/testkit"
)

// TestArraysAreEncodedAsByPgx, byte for byte, and PostgreSQL reads what was sent.
func TestArraysAreEncodedAsByPgx(t *testing.T) {
	t.Parallel()
	conn, err := testkit.Store(t).Pool().Acquire(t.Context())
	require.NoError(t, err)
	t.Cleanup(conn.Release)
	plain, ours := pgtype.NewMap(), conn.Conn().TypeMap()
	rapid.Check(t, func(t *rapid.T) {
		documents := rapid.SliceOf(rapid.Custom(func(t *rapid.T) json.RawMessage {
			if rapid.Bool().Draw(t, "null") {
				return nil
			}
			text, _ := json.Marshal(rapid.String().Draw(t, "text"))
			return text
		})).Draw(t, "documents")
		ids := rapid.SliceOf(rapid.Custom(func(t *rapid.T) uuid.UUID {
			return uuid.UUID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "bytes"))
		})).Draw(t, "ids")
		for oid, value := range map[uint32]any{pgtype.JSONBArrayOID: documents, pgtype.UUIDArrayOID: ids} {
			prefix := []byte("before")
			want, err := plain.Encode(oid, pgtype.BinaryFormatCode, value, prefix)
			require.NoError(t, err)
			got, err := ours.Encode(oid, pgtype.BinaryFormatCode, value, prefix)
			require.NoError(t, err)
			require.Equal(t, want, got)
		}
	})
	var count, nulls int
	require.NoError(t, conn.QueryRow(t.Context(), "SELECT count(*), count(*) FILTER (WHERE d IS NULL) FROM unnest($1::jsonb[]) AS d",
		[]json.RawMessage{json.RawMessage(`{"a":1}`), nil}).Scan(&count, &nulls))
	require.Equal(t, [2]int{2, 1}, [2]int{count, nulls})
}
