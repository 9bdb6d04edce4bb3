"""turdb_tables, turdb_columns and turdb_indexes tell what there is; the columns agree with PRAGMA table_info of an ordinary table."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
from sql import *  # noqa: F401,F403,E402

BODY = "id INTEGER PRIMARY KEY, name TEXT NOT NULL DEFAULT 'x' COLLATE NOCASE, age INTEGER CHECK (age > 0), joined DEFAULT (1 + 1), price DECIMAL(5, 2)"


def opened():
    load()
    con = connect('app')
    con.execute('CREATE VIRTUAL TABLE t USING turdb(%s, UNIQUE (name, age), INDEX by_age (age DESC, name COLLATE BINARY), '
                'v VECTOR(3) HNSW (metric=cosine, m=8))' % BODY)
    con.execute("INSERT INTO t(name, age, v) VALUES ('a', 1, '[1,2,3]'), ('b', 2, NULL)")
    con.execute('CREATE VIRTUAL TABLE "other one" USING turdb(a, b, PRIMARY KEY (b, a))')
    con.execute('CREATE TABLE plain(x)')
    return con


def tables_are_told(scratch):
    con = opened()
    expect_equal(con.execute('SELECT schema, name, rows, columns, indexes FROM turdb_tables').fetchall(),
                 [('main', 't', 2, 6, 3), ('main', 'other one', 0, 2, 1)])
    row = con.execute("SELECT pages, bytes, index_bytes, file FROM turdb_tables('main') WHERE name = 't'").fetchone()
    expect(row[0] >= 2 and row[1] == row[0] * (16320 if Home.inline() else 16384) and row[2] > 0, row)
    expect(row[3] == 'main.t_tbd' if Home.inline() else row[3].endswith('-t.tbd'), row)
    con.execute("ATTACH 'file:second?vfs=turdb' AS two")
    con.execute('CREATE VIRTUAL TABLE two.t USING turdb(a)')
    expect_equal(con.execute("SELECT schema, name FROM turdb_tables('two')").fetchall(), [('two', 't')])
    expect_equal(value(con, 'SELECT count(*) FROM turdb_tables'), 3)
    con.execute('BEGIN')
    con.execute("INSERT INTO t(name) VALUES ('mine')")
    con.execute('DROP TABLE two.t')
    expect_equal(con.execute('SELECT name, rows FROM turdb_tables').fetchall(), [('t', 3), ('other one', 0)])
    con.execute('ROLLBACK')
    expect_equal(value(con, 'SELECT sum(rows) FROM turdb_tables'), 2)


def columns_are_those_of_table_info(scratch):
    con = opened()
    con.execute('CREATE TABLE stock(%s)' % BODY)
    wanted = con.execute('PRAGMA table_info(stock)').fetchall()
    got = con.execute("SELECT cid, name, type, \"notnull\", dflt_value, pk FROM turdb_columns('t') WHERE cid < 5").fetchall()
    expect_equal(got, [row[:4] + (row[4].strip('()') if row[4] == '(1 + 1)' else row[4],) + row[5:] for row in wanted])
    expect_equal(con.execute("SELECT name, pk FROM turdb_columns('main.other one')").fetchall(), [('a', 2), ('b', 1)])
    expect_equal(con.execute("SELECT name, collation, type FROM turdb_columns WHERE name IN ('name', 'v')").fetchall(),
                 [('name', 'NOCASE', 'TEXT'), ('v', 'BINARY', 'VECTOR(3)')])
    expect_equal(con.execute("SELECT * FROM turdb_columns('nobody')").fetchall(), [])
    expect_equal(con.execute("SELECT * FROM turdb_columns('plain')").fetchall(), [])


def indexes_are_told(scratch):
    con = opened()
    expect_equal(con.execute("SELECT name, kind, \"unique\", origin, columns, options, entries FROM turdb_indexes('t')").fetchall(), [
        ('vector v', 'hnsw', 0, 'c', 'v', 'metric=cosine, m=8, ef_construction=200, quantize=none', 1),
        ('autoindex 1', 'tree', 1, 'u', 'name, age', None, 2), ('by_age', 'tree', 0, 'c', 'age DESC, name COLLATE BINARY', None, 2)])
    expect_equal(con.execute("SELECT tbl_name, origin, columns FROM turdb_indexes WHERE tbl_name <> 't'").fetchall(), [('other one', 'pk', 'b, a')])
    con.execute("SELECT turdb_create_index('more', 't', 'joined, id', 'unique')")
    expect_equal(con.execute("SELECT \"unique\", entries, pages > 0, bytes > 0, file IS NULL FROM turdb_indexes('main.t') WHERE name = 'more'").fetchall(),
                 [(1, 2, 1, 1, 0)])


main({name: case for name, case in globals().items() if hasattr(case, '__code__')}, BOTH_HOMES)
