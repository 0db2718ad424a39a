package schema

import (
	"fmt"
	"strings"
)

var typescriptTypes = map[columnType]string{ // as pg and postgres.js return them
	typeUUID:    "string",
	typeText:    "string",
	typeTexts:   "string[]",
	typeBoolean: "boolean",
	typeJSON:    "Record<string, unknown>",
	typeTime:    "Date",
}

// typescript returns the types of the rows, for queries in SQL.
func typescript(name string) string {
	var b strings.Builder
	b.WriteString(comment("//", fmt.Sprintf(`The rows of clerksync's tables, by "clerksync schema typescript": run it again after an upgrade of clerksync.

They are as pg and postgres.js return them, a time as a Date:

  const { rows } = await pool.query<User>('SELECT * FROM %q.users WHERE clerk_id = $1', [userId])

Left out is raw, the whole payload of Clerk with private metadata; SELECT * returns it too.
`, name)))
	for _, t := range tables {
		fmt.Fprintf(&b, "\n%sexport interface %s {\n", jsComment("", t.note), t.model)
		for _, c := range t.models() {
			null := ""
			if c.null {
				null = " | null"
			}
			note := c.note
			if c.parent != "" {
				note = strings.TrimSpace(note + " " + fmt.Sprintf("Refers to %s.%s.", c.parent, c.parentID))
			}
			fmt.Fprintf(&b, "%s  %s: %s%s;\n", jsComment("  ", note), c.name, typescriptTypes[c.kind], null)
		}
		b.WriteString("}\n")
	}
	return b.String()
}
