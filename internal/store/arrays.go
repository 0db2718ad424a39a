package store

import (
	"encoding/binary"
	"encoding/json"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// registerArrays has the arrays that make up most of a batch encoded in one piece. pgx
// finds the elements by reflection, and lets its buffer grow by each of them: copied many
// times over, the documents were a fifth of all that a worker allocated.
func registerArrays(conn *pgx.Conn) {
	const version = 1 // of jsonb's binary format
	registerArray(conn, pgtype.JSONBArrayOID, func(buf []byte, document json.RawMessage) []byte {
		return append(append(buf, version), document...)
	}, func(document json.RawMessage) int {
		if document == nil {
			return null
		}
		return 1 + len(document)
	})
	registerArray(conn, pgtype.UUIDArrayOID, func(buf []byte, id uuid.UUID) []byte {
		return append(buf, id[:]...)
	}, func(id uuid.UUID) int { return len(id) })
}

// null is the size of NULL.
const null = -1

// registerArray replaces the codec of an array's type for slices of E. appendTo appends the
// binary form of an element, whose length is size.
func registerArray[E any](conn *pgx.Conn, oid uint32, appendTo func([]byte, E) []byte, size func(E) int) {
	t, _ := conn.TypeMap().TypeForOID(oid)
	array := t.Codec.(*pgtype.ArrayCodec)
	conn.TypeMap().RegisterType(&pgtype.Type{Name: t.Name, OID: oid, Codec: &arrayCodec[E]{array, appendTo, size}})
}

// arrayCodec is pgx's codec of an array, but for slices of E that are sent.
type arrayCodec[E any] struct {
	*pgtype.ArrayCodec
	appendTo func([]byte, E) []byte
	size     func(E) int
}

// PlanEncode implements [pgtype.Codec].
func (c *arrayCodec[E]) PlanEncode(m *pgtype.Map, oid uint32, format int16, value any) pgtype.EncodePlan {
	if _, ours := value.([]E); ours && format == pgtype.BinaryFormatCode {
		return c
	}
	return c.ArrayCodec.PlanEncode(m, oid, format, value)
}

// Encode implements [pgtype.EncodePlan]: array_recv in PostgreSQL's source has the format.
func (c *arrayCodec[E]) Encode(value any, buf []byte) ([]byte, error) {
	elements := value.([]E)
	if elements == nil {
		return nil, nil
	}
	total, nulls := 20, 0
	for _, e := range elements {
		if size := c.size(e); size != null {
			total += 4 + size
		} else {
			total, nulls = total+4, 1
		}
	}
	put := func(n int) { buf = binary.BigEndian.AppendUint32(buf, uint32(n)) }
	buf = slices.Grow(buf, total)
	put(1) // dimension
	put(nulls)
	put(int(c.ElementType.OID))
	put(len(elements))
	put(1) // lower bound
	for _, e := range elements {
		size := c.size(e)
		put(size)
		if size != null {
			buf = c.appendTo(buf, e)
		}
	}
	return buf, nil
}
