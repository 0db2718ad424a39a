package schema_test

import (
	"context"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/schema"
	"github.com/clerksync/clerksync/internal/testkit"
)

// left are the columns of the tables that no model has.
var left = []string{"users.email_rank", "users.raw", "organizations.raw"}

// TestModelsEqualTheCatalog: every model has the columns of the migrated tables, with their
// types, nullability, defaults, unique keys and foreign keys, and no others.
func TestModelsEqualTheCatalog(t *testing.T) {
	t.Parallel()
	tables := catalog(t, testkit.DatabaseURL(t))
	models := without(tables, left...)
	columns := only(models, column.MatchString)
	for i, fact := range columns {
		columns[i], _, _ = strings.Cut(fact, " default ")
	}
	require.Len(t, columns, 20+10+9)
	for tool, want := range map[string][]string{
		schema.SQL:        without(tables, "users.email_rank"),
		schema.Prisma:     models,
		schema.Drizzle:    models,
		schema.TypeScript: columns,
	} {
		t.Run(tool, func(t *testing.T) {
			t.Parallel()
			read := map[string]func(*testing.T, string) []string{
				schema.SQL: readSQL, schema.Prisma: readPrisma, schema.Drizzle: readDrizzle, schema.TypeScript: readTypeScript,
			}[tool]
			got := read(t, printed(t, tool, "clerk"))
			slices.Sort(got)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("the tables (-) and the model (+):\n%s", diff)
			}
		})
	}
}

// TestPrismaLeavesEveryTableAlone: a table of the schema that is not named as external would
// be dropped by Migrate.
func TestPrismaLeavesEveryTableAlone(t *testing.T) {
	t.Parallel()
	conn := connect(t, testkit.RLSDatabaseURL(t))
	rows, err := conn.Query(t.Context(), "SELECT 'clerk.' || relname FROM pg_class WHERE relnamespace = 'clerk'::regnamespace AND relkind IN ('r', 'p')")
	require.NoError(t, err)
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	var external []string
	for _, m := range regexp.MustCompile(`(?m)^// +"(clerk\.\w+)",$`).FindAllStringSubmatch(printed(t, schema.Prisma, "clerk"), -1) {
		external = append(external, m[1])
	}
	require.ElementsMatch(t, tables, external)
}

// TestReadersMayReadTheModels: an ORM selects every column of a model, so one that
// clerk_reader may not read would make every query of it fail.
func TestReadersMayReadTheModels(t *testing.T) {
	t.Parallel()
	conn := connect(t, testkit.RLSDatabaseURL(t))
	facts := readPrisma(t, printed(t, schema.Prisma, "clerk"))
	for _, fact := range only(facts, column.MatchString) {
		table, name, _ := strings.Cut(strings.Fields(fact)[0], ".")
		var may bool
		require.NoError(t, conn.QueryRow(t.Context(), "SELECT has_column_privilege('clerk_reader', 'clerk.' || $1::text, $2, 'SELECT')", table, name).Scan(&may))
		require.True(t, may, fact)
	}
}

// TestSchemaName: the models are of the tables in the schema that is configured, and of none
// whose name could be taken for source code.
func TestSchemaName(t *testing.T) {
	t.Parallel()
	for _, tool := range schema.Tools {
		for _, name := range []string{"auth_2", "public"} {
			text := printed(t, tool, name)
			require.NotRegexp(t, `"clerk"|\bclerk\.(users|org)`, text)
			require.Regexp(t, `"`+name+`"|pgTable\("users"`, text)
		}
		for _, name := range []string{"", "a-b", `a"; DROP`, "a.b", "1a", "a\n", "ä", strings.Repeat("a", 64)} {
			var out strings.Builder
			require.Error(t, schema.Print(&out, tool, name), name)
			require.Empty(t, out.String())
		}
	}
	require.Error(t, schema.Print(nil, "rails", "clerk"))
	facts := without(catalog(t, testkit.DatabaseURL(t)), left...)
	require.Equal(t, facts, sorted(readDrizzle(t, printed(t, schema.Drizzle, "public"))))
}

func printed(t *testing.T, tool, name string) string {
	t.Helper()
	var out strings.Builder
	require.NoError(t, schema.Print(&out, tool, name))
	return out.String()
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// catalog returns what PostgreSQL's catalog says of the tables and views that applications
// read: sorted lines, one for each column and each key.
func catalog(t *testing.T, url string) []string {
	t.Helper()
	rows, err := connect(t, url).Query(t.Context(), `
		WITH tables AS (
			SELECT oid, relname FROM pg_class
			WHERE relnamespace = 'clerk'::regnamespace AND relname IN ('users', 'organizations', 'org_memberships')
		)
		SELECT relname || '.' || attname || ' ' || format_type(atttypid, atttypmod)
			|| CASE WHEN attnotnull THEN ' not null' ELSE '' END
			|| coalesce(' default ' || split_part(pg_get_expr(adbin, adrelid), '::', 1), '')
		FROM tables JOIN pg_attribute ON attrelid = oid AND attnum > 0 AND NOT attisdropped
		LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
		UNION ALL
		SELECT relname || CASE WHEN indisprimary THEN ' primary key (' ELSE ' unique ' || indexrelid::regclass::name || ' (' END
			|| (SELECT string_agg(pg_get_indexdef(indexrelid, k, true), ', ' ORDER BY k) FROM generate_series(1, indnkeyatts) AS k)
			|| ')' || coalesce(' where ' || pg_get_expr(indpred, indrelid, true), '')
		FROM tables JOIN pg_index ON indrelid = oid AND indisunique
		UNION ALL
		SELECT conrelid::regclass::name || ' ' || lower(pg_get_constraintdef(pg_constraint.oid))
		FROM tables JOIN pg_constraint ON conrelid = tables.oid AND contype = 'f'`)
	require.NoError(t, err)
	facts, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	for i, fact := range facts {
		facts[i] = strings.ToLower(strings.NewReplacer("clerk.", "", "(email IS", "email IS", "NULL)", "NULL").Replace(fact))
	}
	return sorted(facts)
}

// column matches what is said of a column.
var column = regexp.MustCompile(`^\w+\.\w+ `)

func sorted(facts []string) []string { return slices.Sorted(slices.Values(facts)) }

func only(facts []string, keep func(string) bool) []string {
	return slices.DeleteFunc(slices.Clone(facts), func(fact string) bool { return !keep(fact) })
}

func without(facts []string, columns ...string) []string {
	return only(facts, func(fact string) bool {
		name, _, _ := strings.Cut(fact, " ")
		return !slices.Contains(columns, name)
	})
}

// readSQL executes the statements, and asks the catalog.
func readSQL(t *testing.T, text string) []string {
	url := testkit.EmptyDatabaseURL(t)
	conn := connect(t, url)
	_, err := conn.Exec(t.Context(), text)
	require.NoError(t, err)
	var columns int
	require.NoError(t, conn.QueryRow(t.Context(), `SELECT (SELECT count(*) FROM information_schema.columns WHERE table_name = 'active_users')
		+ (SELECT count(*) FROM information_schema.columns WHERE table_name = 'active_organizations')`).Scan(&columns))
	require.Equal(t, 21+11, columns, "of the views")
	return catalog(t, url)
}

var (
	camelHump = regexp.MustCompile(`[A-Z]`)
	word      = regexp.MustCompile(`\w+`)
)

// snake returns a name of JavaScript as it is in SQL.
func snake(name string) string {
	return camelHump.ReplaceAllStringFunc(name, func(hump string) string { return "_" + strings.ToLower(hump) })
}

// snakes returns a list of names as it is in SQL.
func snakes(list string) string {
	var names []string
	for _, name := range word.FindAllString(strings.ReplaceAll(list, "t.", ""), -1) {
		names = append(names, snake(name))
	}
	return strings.Join(names, ", ")
}

// find returns the first group of a pattern in a text, or "".
func find(pattern, text string) string {
	if m := regexp.MustCompile(pattern).FindStringSubmatch(text); m != nil {
		return m[1]
	}
	return ""
}

// fact returns what catalog says of a column.
func fact(table, name, kind string, null bool, value string) string {
	if !null {
		kind += " not null"
	}
	if value != "" {
		kind += " default " + map[string]string{"[]": "'{}'", `"{}"`: "'{}'", "{}": "'{}'", "false": "false"}[value]
	}
	return table + "." + name + " " + kind
}

// where is the condition of the index on email: the one key of a column that can be NULL.
func where(null bool, name string) string {
	if null {
		return " where " + name + " is not null"
	}
	return ""
}

func readPrisma(t *testing.T, text string) []string {
	var facts []string
	tables := map[string]string{}
	models := regexp.MustCompile(`(?ms)^model (\w+) \{\n(.*?)^\}`).FindAllStringSubmatch(text, -1)
	for _, m := range models {
		tables[m[1]] = find(`@@map\("(\w+)"\)`, m[2])
		require.Contains(t, m[2], `@@schema("clerk")`)
	}
	for _, m := range models {
		table := tables[m[1]]
		for line := range strings.Lines(m[2]) {
			line = strings.TrimSpace(line)
			field := regexp.MustCompile(`^(\w+) +(\w+)(\[\]|\?)? *(.*)$`).FindStringSubmatch(line)
			switch {
			case strings.HasPrefix(line, "@@unique"):
				facts = append(facts, table+" unique "+find(`map: "(\w+)"`, line)+" ("+snakes(find(`\[(.*)\]`, line))+")")
			case field == nil: // a comment, or an attribute without a key
			case strings.Contains(field[4], "@relation"):
				require.Contains(t, field[4], "onDelete: NoAction, onUpdate: NoAction", "as the constraint is")
				facts = append(facts, table+" foreign key ("+snakes(find(`fields: \[(.*?)\]`, line))+") references "+tables[field[2]]+"("+snakes(find(`references: \[(.*?)\]`, line))+")")
			case tables[field[2]] != "": // the other side of a relation
				require.Equal(t, "[]", field[3])
			default:
				name, null, attributes := field[1], field[3] == "?", field[4]
				if mapped := find(`@map\("(\w+)"\)`, attributes); mapped != "" {
					name = mapped
				}
				kind := strings.TrimSpace(strings.TrimSuffix(field[2]+field[3], "?") + " " + find(`(@db\.\S+)`, attributes))
				kind = map[string]string{
					"String @db.Uuid": "uuid", "String": "text", "String[]": "text[]", "Boolean": "boolean", "Json": "jsonb",
					"DateTime @db.Timestamptz(6)": "timestamp with time zone",
				}[kind]
				facts = append(facts, fact(table, name, kind, null, find(`@default\((.*?)\)`, attributes)))
				if strings.Contains(attributes, "@id") {
					facts = append(facts, table+" primary key ("+name+")")
				}
				if key := find(`@unique\(map: "(\w+)"\)`, attributes); key != "" {
					facts = append(facts, table+" unique "+key+" ("+name+")"+where(null, name))
				}
			}
		}
	}
	return facts
}

func readDrizzle(t *testing.T, text string) []string {
	var facts []string
	for _, m := range regexp.MustCompile(`(?ms)^export const (\w+) = (?:clerk\.table|pgTable)\("(\w+)", \{\n(.*?)^\}(.*?)\);`).FindAllStringSubmatch(text, -1) {
		require.Equal(t, snake(m[1]), m[2])
		for line := range strings.Lines(m[3] + m[4]) {
			field := regexp.MustCompile(`^  (\w+): (\w+)\("(\w+)"(, \{ withTimezone: true \})?\)(\.array\(\))?(.*),\n`).FindStringSubmatch(line)
			name, key, on := "", find(`^  unique(?:Index)?\("(\w+)"\)`, line), snakes(find(`\.on\((.*?)\)`, line))
			switch {
			case key != "":
				facts = append(facts, m[2]+" unique "+key+" ("+on+")"+where(strings.Contains(line, ".where(sql`"+on+" IS NOT NULL`)"), on))
			case field != nil:
				name = field[3]
				require.Equal(t, name, snake(field[1]))
				kind := map[string]string{
					"uuid": "uuid", "text": "text", "text.array()": "text[]", "boolean": "boolean", "jsonb": "jsonb",
					"timestamp, { withTimezone: true }": "timestamp with time zone",
				}[field[2]+field[4]+field[5]]
				primary := strings.Contains(field[6], ".primaryKey()")
				facts = append(facts, fact(m[2], name, kind, !primary && !strings.Contains(field[6], ".notNull()"), find(`\.default\((.*?)\)`, field[6])))
				if primary {
					facts = append(facts, m[2]+" primary key ("+name+")")
				}
				if key := find(`\.unique\("(\w+)"\)`, field[6]); key != "" {
					facts = append(facts, m[2]+" unique "+key+" ("+name+")")
				}
				if parent := regexp.MustCompile(`\.references\(\(\) => (\w+)\.(\w+)\)`).FindStringSubmatch(field[6]); parent != nil {
					facts = append(facts, m[2]+" foreign key ("+name+") references "+parent[1]+"("+snake(parent[2])+")")
				}
			}
		}
	}
	return facts
}

func readTypeScript(t *testing.T, text string) []string {
	tables := map[string]string{"User": "users", "Organization": "organizations", "OrgMembership": "org_memberships"}
	var facts []string
	for _, m := range regexp.MustCompile(`(?ms)^export interface (\w+) \{\n(.*?)^\}`).FindAllStringSubmatch(text, -1) {
		comment := ""
		for line := range strings.Lines(m[2]) {
			field := regexp.MustCompile(`^  (\w+): (.*?)( \| null)?;\n`).FindStringSubmatch(line)
			if field == nil {
				comment = line
				continue
			}
			// The type does not tell a uuid and a text apart.
			kind := map[string]string{
				"string": "text", "string[]": "text[]", "boolean": "boolean", "Record<string, unknown>": "jsonb", "Date": "timestamp with time zone",
			}[field[2]]
			if field[1] == "id" || strings.Contains(comment, "Refers to users.id.") {
				kind = "uuid"
			}
			comment = ""
			facts = append(facts, fact(tables[m[1]], field[1], kind, field[3] != "", ""))
		}
		delete(tables, m[1])
	}
	require.Empty(t, slices.Collect(maps.Keys(tables)))
	return facts
}
