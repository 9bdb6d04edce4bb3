#!/usr/bin/python3
"""Makes logic_sample.test: tables, indexes, changes and queries in the format of sqllogictest, with stock SQLite's answers.

    python3 test/suite/logic_sample.py > test/suite/logic_sample.test
"""
import random
import sqlite3

random.seed(20)
con = sqlite3.connect(':memory:', isolation_level=None)
TABLES = {
    'people': 'id INTEGER PRIMARY KEY, name TEXT COLLATE NOCASE, age INTEGER, weight REAL, note TEXT',
    'visits': 'person INTEGER, place TEXT, day INTEGER, cost REAL, UNIQUE(person, day)',
    'codes': 'code TEXT PRIMARY KEY, amount INTEGER NOT NULL, CHECK(amount >= 0)',
}
NAMES = ['ada', 'Alan', 'GRACE', 'edsger', 'Barbara', 'don', 'Tony', 'leslie', 'Ken', 'radia']
PLACES = ['north', 'south', 'east', 'west', 'Nord-Ost', '']


def literal(value):
    return con.execute('SELECT quote(?)', (value,)).fetchone()[0]


def statement(sql):
    try:
        con.execute(sql)
        print('statement ok\n%s\n' % sql)
    except sqlite3.Error:
        print('statement error\n%s\n' % sql)


def printed(value, kind):
    if value is None:
        return 'NULL'
    return '%.3f' % value if kind == 'R' else str(value) or '(empty)'


def query(kinds, sql, order='rowsort'):
    rows = [[printed(value, kind) for value, kind in zip(row, kinds)] for row in con.execute(sql)]
    if order == 'rowsort':
        rows.sort()
    values = [value for row in rows for value in row]
    print('query %s %s\n%s\n----\n%s' % (kinds, order, sql, ''.join(value + '\n' for value in values)))


def person():
    return ', '.join(map(literal, (random.choice(NAMES) + random.choice(['', '', str(random.randrange(9))]),
                                   random.choice([None] + list(range(18, 60))), random.choice([None, 48.5, 60.25, 72, 99.75]),
                                   random.choice([None, '', 'x' * random.randrange(40)]))))


def change():
    kind = random.randrange(8)
    if kind < 3:
        statement('INSERT INTO people(name, age, weight, note) VALUES(%s)' % person())
    elif kind == 3:
        statement('INSERT OR %s INTO visits VALUES(%d, %s, %d, %s)' % (
            random.choice(['ABORT', 'IGNORE', 'REPLACE']), random.randrange(30), literal(random.choice(PLACES)),
            random.randrange(12), random.choice(['NULL', '0', '1.5', '20', '-3.25'])))
    elif kind == 4:
        statement('UPDATE people SET age = age + %d WHERE id %% 7 = %d' % (random.randrange(3), random.randrange(7)))
    elif kind == 5:
        statement('DELETE FROM visits WHERE day = %d AND cost < %d' % (random.randrange(12), random.randrange(20)))
    elif kind == 6:
        statement("INSERT INTO codes(code, amount) VALUES(%s, %s)" % (
            literal(random.choice('abcdefgh') + str(random.randrange(20))), random.choice(['1', '2', '40', '-1', 'NULL'])))
    else:
        statement('UPDATE OR IGNORE visits SET day = %d WHERE person = %d' % (random.randrange(12), random.randrange(30)))


def condition():
    return random.choice([
        'age > %d' % random.randrange(60), 'age BETWEEN %d AND %d' % (random.randrange(40), random.randrange(70)),
        'name = %s' % literal(random.choice(NAMES).upper()), 'name LIKE %s' % literal(random.choice('agbdx') + '%'),
        'weight IS NULL', 'age IS NOT NULL AND weight < 70', 'id IN (1, 5, 9, 13, %d)' % random.randrange(60),
        "note > 'x'", "NOT (age < 30 OR weight > 60)", 'id = %d' % random.randrange(70),
        'age IN (SELECT day + 20 FROM visits)', 'EXISTS (SELECT 1 FROM visits WHERE person = people.id AND cost > 1)'])


def ask():
    where = condition()
    kind = random.randrange(7)
    if kind == 0:
        query('ITI', 'SELECT id, name, age FROM people WHERE %s' % where)
    elif kind == 1:
        query('IIR', 'SELECT count(*), sum(age), avg(weight) FROM people WHERE %s' % where)
    elif kind == 2:
        query('II', 'SELECT age, count(*) FROM people WHERE %s GROUP BY age HAVING count(*) < 4 ORDER BY age DESC' % where, 'nosort')
    elif kind == 3:
        query('TTR', 'SELECT name, place, cost FROM people JOIN visits ON person = id WHERE %s' % where)
    elif kind == 4:
        query('TI', "SELECT name, day FROM people LEFT JOIN visits ON person = id AND place <> 'east' WHERE %s" % where)
    elif kind == 5:
        query('TI', 'SELECT name, id FROM people WHERE %s ORDER BY name DESC, id LIMIT %d OFFSET %d' % (
            where, random.randrange(1, 8), random.randrange(3)), 'nosort')
    else:
        query('T', 'SELECT DISTINCT name FROM people WHERE %s UNION SELECT code FROM codes WHERE amount > %d' % (
            where, random.randrange(5)))


print('# Made by logic_sample.py with SQLite %s; not to be edited.\n' % sqlite3.sqlite_version)
for name, columns in TABLES.items():
    statement('CREATE TABLE %s(%s)' % (name, columns))
statement('CREATE INDEX people_by_age ON people(age DESC, name)')
for step in range(160):
    change()
    if step > 60:
        ask()
        ask()
    if step == 100:
        statement('CREATE INDEX visits_by_place ON visits(place, cost)')
    if step == 130:
        statement('DROP INDEX people_by_age')
    if step % 40 == 20:
        statement('BEGIN')
        change()
        query('I', 'SELECT count(*) FROM people')
        statement(random.choice(['COMMIT', 'ROLLBACK']))
