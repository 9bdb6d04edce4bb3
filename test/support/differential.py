"""Two connections that must answer alike: turdb tables in a directory, ordinary tables in stock SQLite.

A step is a statement (or a pair, where the two sides spell it differently) and a word for how its rows compare:

    exact    the same rows in the same order, types included
    rows     the same rows in any order, types included
    values   the same rows in any order; values that compare equal under some collation count as equal
    N        `values`, and the first N columns (those of ORDER BY) in the same sequence
    first N  only these N columns, in sequence: rows cut off by LIMIT among equals
    error    only whether there was an error: which row fails first depends on the plan

Stock SQLite has bugs of its own, most of them about indexes: what a second stock side without indexes (and without
automatic ones) answers is right as well. A difference is shortened, by leaving out statements as long as it stays, before it is told.
"""
import sqlite3

from sql import Home, connect, wipe


class Difference(AssertionError):
    pass


def as_text(raw):
    text = 'T' + raw.decode('latin-1')
    return text if len(text) < 100 else '%s...%s (%d)' % (text[:9], text[-3:], len(text.rstrip(' ')))


def folded(value):
    """One representative for all values that any collation calls equal."""
    if isinstance(value, str):
        return value.lower().rstrip(' ')
    if isinstance(value, float) and value == value and abs(value) < 1e19 and value == int(value):
        return int(value)
    return value


RANKS = {type(None): 0, int: 1, float: 1, str: 2, bytes: 3}


def place(row):
    return [(RANKS[type(v)], 0 if v is None else v) for v in row], repr(row)


def arranged(rows, how):
    if how == 'exact':
        return [repr(r) for r in rows]
    if how == 'rows':
        return sorted(repr(r) for r in rows)
    if how == 'error':
        return []
    rows = [tuple(map(folded, r)) for r in rows]
    if isinstance(how, str) and how.startswith('first'):
        return [repr(r[:int(how[6:])]) for r in rows]
    keys = [repr(r[:how]) for r in rows] if isinstance(how, int) else []
    return keys + [repr(r) for r in sorted(rows, key=place)]


class Pair:
    """Both sides of a comparison, freshly made."""

    def __init__(self, directory='app', pragmas=()):
        wipe(directory)
        self.ours = connect(directory)
        self.stock = sqlite3.connect(':memory:', isolation_level=None)
        self.plain = sqlite3.connect(':memory:', isolation_level=None)
        for con in (self.ours, self.stock, self.plain):
            con.text_factory = as_text
            for pragma in pragmas:
                con.execute('PRAGMA ' + pragma)
        self.ours.execute('PRAGMA synchronous = off')
        self.plain.execute('PRAGMA automatic_index = off')

    def close(self):
        self.ours.close()
        self.stock.close()
        self.plain.close()

    def once(self, con, sql, how):
        before = con.total_changes
        try:
            rows, error = con.execute(sql).fetchall(), None
        except (sqlite3.Error, OverflowError) as failure:
            rows, error = [], 'an error' if how == 'error' else '%s: %s' % (type(failure).__name__, failure)
        counts = ()
        if how != 'error' or not error:
            counts = (con.total_changes - before if not Home.inline() else 0,)  # new pages of shadow tables count in it
            if sql.lstrip()[:6].upper() in ('INSERT', 'UPDATE', 'DELETE', 'REPLAC'):
                changes, last = con.execute('SELECT changes(), last_insert_rowid()').fetchone()
                counts += (last,) if error else (changes, last)
        return arranged(rows, how), error, counts if how != 'uncounted' else (), con.in_transaction

    def step(self, sql, how):
        left, right = (sql, sql) if isinstance(sql, str) else sql
        if how == 'uncounted':
            got, wanted = ((bool(r[1]), r[3]) for r in (self.once(self.ours, left, how), self.once(self.stock, right, how)))
        else:
            got, wanted = self.once(self.ours, left, how), self.once(self.stock, right, how)
        if not right.startswith(('CREATE INDEX', 'DROP INDEX')):
            # Stock 3.40 does not see the NULLs of a descending UNIQUE in NOT IN (SELECT ...).
            simple = right.replace(' DESC', '') if right.startswith('CREATE TABLE') else right
            plain = self.once(self.plain, simple, how)
            if how != 'uncounted' and got == plain:
                return None
        if got == wanted:
            return None
        if how != 'uncounted' and got[0] != wanted[0]:
            extra = [r for r in got[0] if r not in wanted[0]]
            missing = [r for r in wanted[0] if r not in got[0]]
            if extra or missing:
                return '%d rows %r, not in stock: %.900r; missing: %.900r' % (len(got[0]), got[1:], extra, missing)
        return 'got %.900r\n  wanted %.900r' % (got, wanted)


def replay(steps, pragmas):
    """What differs at the last of these steps, when none differs before it."""
    pair = Pair('again', pragmas)
    try:
        for step in steps[:-1]:
            if pair.step(*step):
                return None
        return pair.step(*steps[-1])
    finally:
        pair.close()


def shorten(steps, pragmas):
    """Leaves out what the difference at the end does not need."""
    size = max(len(steps) // 2, 1)
    while True:
        at = len(steps) - 1 - size
        while at > -size:
            fewer = steps[:max(at, 0)] + steps[max(at, 0) + size if at >= 0 else size + at:]
            if len(fewer) < len(steps) and fewer and replay(fewer, pragmas):
                steps = fewer
            at -= size
        if size == 1:
            return steps
        size //= 2


def tell(steps, what, pragmas):
    reads = lambda s: isinstance(s[0], str) and s[0].startswith(('SELECT', 'WITH', 'VALUES'))
    needed = [s for s in steps[:-1] if not reads(s)] + steps[-1:]
    if replay(needed, pragmas):
        needed = shorten(needed, pragmas)
        what = replay(needed, pragmas) or what
    else:
        needed = ['(cannot be played again)'] + steps[-10:]
    text = '\n'.join('    %s' % (s if isinstance(s, str) else s[0] if isinstance(s[0], str) else '%s\n       -- %s' % s[0])
                     for s in needed)
    raise Difference('\n%s\n  %s' % (text, what))
