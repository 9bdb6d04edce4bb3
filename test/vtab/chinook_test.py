"""The Chinook sample database answers the same from a turdb database as from stock SQLite.

Its tables are copied twice, as ordinary tables on the turdb VFS and as turdb tables with their keys and indexes; thirty
joins, groupings and orderings are compared row by row. The real file is used where it is found (TURDB_CHINOOK, or
../shared/data/chinook.sqlite); otherwise rows of the same shape are made up.
"""
import os
import pathlib
import random
import re
import sqlite3
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
from sql import *  # noqa: F401,F403,E402

FILE = pathlib.Path(os.environ.get('TURDB_CHINOOK', TOP.parent / 'shared/data/chinook.sqlite'))

# Columns of the sample, enough for the queries and with the same quirks: [brackets], named constraints, NOT NULL,
# a table-level key on one INTEGER column, a key over two columns, dates as text, money as NUMERIC(10,2).
SCHEMA = '''
CREATE TABLE [Artist] ([ArtistId] INTEGER NOT NULL, [Name] NVARCHAR(120), CONSTRAINT [PK_Artist] PRIMARY KEY ([ArtistId]));
CREATE TABLE [Album] ([AlbumId] INTEGER NOT NULL, [Title] NVARCHAR(160) NOT NULL, [ArtistId] INTEGER NOT NULL,
  CONSTRAINT [PK_Album] PRIMARY KEY ([AlbumId]),
  FOREIGN KEY ([ArtistId]) REFERENCES [Artist] ([ArtistId]) ON DELETE NO ACTION ON UPDATE NO ACTION);
CREATE TABLE [Genre] ([GenreId] INTEGER NOT NULL, [Name] NVARCHAR(120), CONSTRAINT [PK_Genre] PRIMARY KEY ([GenreId]));
CREATE TABLE [MediaType] ([MediaTypeId] INTEGER NOT NULL, [Name] NVARCHAR(120),
  CONSTRAINT [PK_MediaType] PRIMARY KEY ([MediaTypeId]));
CREATE TABLE [Track] ([TrackId] INTEGER NOT NULL, [Name] NVARCHAR(200) NOT NULL, [AlbumId] INTEGER,
  [MediaTypeId] INTEGER NOT NULL, [GenreId] INTEGER, [Composer] NVARCHAR(220), [Milliseconds] INTEGER NOT NULL,
  [Bytes] INTEGER, [UnitPrice] NUMERIC(10,2) NOT NULL, CONSTRAINT [PK_Track] PRIMARY KEY ([TrackId]));
CREATE TABLE [Employee] ([EmployeeId] INTEGER NOT NULL, [LastName] NVARCHAR(20) NOT NULL, [FirstName] NVARCHAR(20) NOT NULL,
  [Title] NVARCHAR(30), [ReportsTo] INTEGER, [BirthDate] DATETIME, [HireDate] DATETIME, [City] NVARCHAR(40),
  CONSTRAINT [PK_Employee] PRIMARY KEY ([EmployeeId]));
CREATE TABLE [Customer] ([CustomerId] INTEGER NOT NULL, [FirstName] NVARCHAR(40) NOT NULL, [LastName] NVARCHAR(20) NOT NULL,
  [Company] NVARCHAR(80), [City] NVARCHAR(40), [State] NVARCHAR(40), [Country] NVARCHAR(40), [Email] NVARCHAR(60) NOT NULL,
  [SupportRepId] INTEGER, CONSTRAINT [PK_Customer] PRIMARY KEY ([CustomerId]));
CREATE TABLE [Invoice] ([InvoiceId] INTEGER NOT NULL, [CustomerId] INTEGER NOT NULL, [InvoiceDate] DATETIME NOT NULL,
  [BillingCity] NVARCHAR(40), [BillingState] NVARCHAR(40), [BillingCountry] NVARCHAR(40), [Total] NUMERIC(10,2) NOT NULL,
  CONSTRAINT [PK_Invoice] PRIMARY KEY ([InvoiceId]));
CREATE TABLE [InvoiceLine] ([InvoiceLineId] INTEGER NOT NULL, [InvoiceId] INTEGER NOT NULL, [TrackId] INTEGER NOT NULL,
  [UnitPrice] NUMERIC(10,2) NOT NULL, [Quantity] INTEGER NOT NULL, CONSTRAINT [PK_InvoiceLine] PRIMARY KEY ([InvoiceLineId]));
CREATE TABLE [Playlist] ([PlaylistId] INTEGER NOT NULL, [Name] NVARCHAR(120), CONSTRAINT [PK_Playlist] PRIMARY KEY ([PlaylistId]));
CREATE TABLE [PlaylistTrack] ([PlaylistId] INTEGER NOT NULL, [TrackId] INTEGER NOT NULL,
  CONSTRAINT [PK_PlaylistTrack] PRIMARY KEY ([PlaylistId], [TrackId]));
CREATE INDEX [IFK_AlbumArtistId] ON [Album] ([ArtistId]);
CREATE INDEX [IFK_CustomerSupportRepId] ON [Customer] ([SupportRepId]);
CREATE INDEX [IFK_InvoiceCustomerId] ON [Invoice] ([CustomerId]);
CREATE INDEX [IFK_InvoiceLineInvoiceId] ON [InvoiceLine] ([InvoiceId]);
CREATE INDEX [IFK_InvoiceLineTrackId] ON [InvoiceLine] ([TrackId]);
CREATE INDEX [IFK_PlaylistTrackTrackId] ON [PlaylistTrack] ([TrackId]);
CREATE INDEX [IFK_TrackAlbumId] ON [Track] ([AlbumId]);
CREATE INDEX [IFK_TrackGenreId] ON [Track] ([GenreId]);
'''

QUERIES = '''
SELECT count(*), sum(Milliseconds), min(Name), max(Name) FROM Track
SELECT * FROM Artist ORDER BY ArtistId
SELECT * FROM Track WHERE TrackId BETWEEN 100 AND 140
SELECT Name FROM Track WHERE TrackId IN (5, 3, 900, 17, 3) ORDER BY TrackId DESC
SELECT AlbumId, Title FROM Album ORDER BY Title COLLATE NOCASE, AlbumId LIMIT 25 OFFSET 10
SELECT ar.Name, al.Title FROM Artist ar JOIN Album al ON al.ArtistId = ar.ArtistId ORDER BY ar.Name, al.Title, al.AlbumId
SELECT ar.Name, count(*) n FROM Artist ar JOIN Album al USING (ArtistId) GROUP BY ar.ArtistId ORDER BY n DESC, ar.Name LIMIT 20
SELECT ar.Name FROM Artist ar LEFT JOIN Album al ON al.ArtistId = ar.ArtistId WHERE al.AlbumId IS NULL ORDER BY 1
SELECT g.Name, count(*), avg(t.Milliseconds), sum(t.Bytes) FROM Track t JOIN Genre g USING (GenreId) GROUP BY g.GenreId ORDER BY 2 DESC, 1
SELECT g.Name, m.Name, count(*) FROM Track t JOIN Genre g USING (GenreId) JOIN MediaType m USING (MediaTypeId) GROUP BY 1, 2 ORDER BY 1, 2
SELECT t.Name, al.Title, ar.Name FROM Track t JOIN Album al USING (AlbumId) JOIN Artist ar USING (ArtistId) WHERE t.Milliseconds > 300000 ORDER BY t.Milliseconds DESC, t.TrackId LIMIT 30
SELECT Composer, count(*) FROM Track WHERE Composer IS NOT NULL GROUP BY Composer HAVING count(*) > 3 ORDER BY 2 DESC, 1
SELECT count(*) FROM Track WHERE Composer IS NULL
SELECT c.Country, sum(i.Total), count(*) FROM Customer c JOIN Invoice i USING (CustomerId) GROUP BY c.Country ORDER BY 2 DESC, 1
SELECT c.FirstName || ' ' || c.LastName, total(i.Total) FROM Customer c LEFT JOIN Invoice i ON i.CustomerId = c.CustomerId GROUP BY c.CustomerId ORDER BY 2 DESC, 1 LIMIT 15
SELECT strftime('%Y', InvoiceDate) y, count(*), sum(Total) FROM Invoice GROUP BY y ORDER BY y
SELECT InvoiceId, Total FROM Invoice WHERE Total >= 5 AND Total < 9.5 ORDER BY Total DESC, InvoiceId
SELECT e.LastName, m.LastName FROM Employee e LEFT JOIN Employee m ON e.ReportsTo = m.EmployeeId ORDER BY e.EmployeeId
WITH RECURSIVE boss(id, depth) AS (SELECT EmployeeId, 0 FROM Employee WHERE ReportsTo IS NULL UNION ALL SELECT e.EmployeeId, depth + 1 FROM Employee e JOIN boss ON e.ReportsTo = boss.id) SELECT depth, count(*) FROM boss GROUP BY depth ORDER BY depth
SELECT e.LastName, count(c.CustomerId) FROM Employee e LEFT JOIN Customer c ON c.SupportRepId = e.EmployeeId GROUP BY e.EmployeeId ORDER BY 2 DESC, 1
SELECT il.InvoiceId, sum(il.UnitPrice * il.Quantity), i.Total FROM InvoiceLine il JOIN Invoice i USING (InvoiceId) GROUP BY il.InvoiceId ORDER BY il.InvoiceId LIMIT 40
SELECT t.Name, sum(il.Quantity) q FROM InvoiceLine il JOIN Track t USING (TrackId) GROUP BY t.TrackId ORDER BY q DESC, t.Name, t.TrackId LIMIT 20
SELECT p.Name, count(pt.TrackId) FROM Playlist p LEFT JOIN PlaylistTrack pt USING (PlaylistId) GROUP BY p.PlaylistId ORDER BY p.PlaylistId
SELECT TrackId FROM PlaylistTrack WHERE PlaylistId = 1 AND TrackId > 50 ORDER BY TrackId LIMIT 20
SELECT count(*) FROM Track t WHERE NOT EXISTS (SELECT 1 FROM InvoiceLine il WHERE il.TrackId = t.TrackId)
SELECT DISTINCT Country FROM Customer ORDER BY Country DESC
SELECT Country FROM Customer UNION SELECT BillingCountry FROM Invoice EXCEPT SELECT 'USA' ORDER BY 1
SELECT Name FROM Track WHERE Name LIKE 'b%' ORDER BY Name, TrackId LIMIT 20
SELECT g.Name, (SELECT max(t.UnitPrice) FROM Track t WHERE t.GenreId = g.GenreId), (SELECT count(DISTINCT AlbumId) FROM Track t WHERE t.GenreId = g.GenreId) FROM Genre g ORDER BY g.GenreId
SELECT AlbumId, Name, row_number() OVER (PARTITION BY AlbumId ORDER BY Milliseconds, TrackId) r FROM Track WHERE AlbumId BETWEEN 5 AND 12 ORDER BY AlbumId, r
SELECT typeof(UnitPrice), typeof(Composer), typeof(TrackId), count(*) FROM Track GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
SELECT t1.TrackId, t2.TrackId FROM Track t1 JOIN Track t2 ON t1.AlbumId = t2.AlbumId AND t1.Milliseconds < t2.Milliseconds WHERE t1.AlbumId < 6 ORDER BY 1, 2
'''


def words(chance):
    return ' '.join(chance.choice('black night Love river bad Blue rock Zero angel Über fire bread'.split())
                    for _ in range(chance.randint(1, 4)))


def made_up():
    """Rows of the same shape where the real file is not at hand."""
    con, chance = sqlite3.connect(':memory:'), random.Random(5)
    con.executescript(SCHEMA)

    def fill(table, count, row):
        for i in range(1, count + 1):
            values = row(i)
            con.execute('INSERT OR IGNORE INTO %s VALUES (%s)' % (table, ','.join('?' * len(values))), values)
    date = lambda: '%d-%02d-%02d 00:00:00' % (chance.randint(2009, 2013), chance.randint(1, 12), chance.randint(1, 28))
    land = lambda: chance.choice(['USA', 'Canada', 'Brazil', 'France', 'Norway', None])
    fill('Artist', 275, lambda i: (i, words(chance)))
    fill('Album', 347, lambda i: (i, words(chance), chance.randint(1, 200)))
    fill('Genre', 25, lambda i: (i, words(chance)))
    fill('MediaType', 5, lambda i: (i, words(chance)))
    fill('Track', 3503, lambda i: (i, words(chance), i // 10, chance.randint(1, 5), chance.randint(1, 25),
                                   words(chance) if i % 3 else None, chance.randint(1000, 600000),
                                   chance.randint(10**5, 10**7), chance.choice([0.99, 1.99])))
    fill('Employee', 8, lambda i: (i, words(chance), words(chance), words(chance), i // 2 or None, date(), date(), 'Oslo'))
    fill('Customer', 59, lambda i: (i, words(chance), words(chance), None, words(chance), None, land(),
                                    '%d@example.org' % i, chance.randint(3, 5)))
    fill('Invoice', 412, lambda i: (i, chance.randint(1, 59), date(), words(chance), None, land(),
                                    chance.randint(1, 2500) / 100))
    fill('InvoiceLine', 2240, lambda i: (i, chance.randint(1, 412), chance.randint(1, 3503), 0.99, chance.randint(1, 3)))
    fill('Playlist', 18, lambda i: (i, words(chance)))
    fill('PlaylistTrack', 8715, lambda i: (chance.randint(1, 18), chance.randint(1, 3503)))
    con.commit()
    return con


def original():
    if FILE.is_file():
        con = sqlite3.connect(':memory:')
        sqlite3.connect('file:%s?mode=ro&immutable=1' % FILE, uri=True).backup(con)
        return con
    print('note %s is not here: made-up rows of the same shape' % FILE)
    return made_up()


def schema(source):
    tables = list(source.execute("SELECT name, sql FROM sqlite_master WHERE type='table' AND name NOT LIKE 'sqlite_%'"))
    indexes = list(source.execute("SELECT tbl_name, sql FROM sqlite_master WHERE type='index' AND sql IS NOT NULL"))
    return tables, indexes


def copy_rows(source, target, tables):
    target.execute('BEGIN')
    for name, _ in tables:
        for row in source.execute('SELECT * FROM [%s] ORDER BY rowid' % name):
            target.execute('INSERT INTO [%s] VALUES (%s)' % (name, ','.join('?' * len(row))), row)
    target.execute('COMMIT')


def turdb_table(name, sql, indexes):
    body = sql[sql.index('('):].rstrip()
    items = [re.sub(r'(?is)^CREATE INDEX (\S+) ON \S+ (\(.*\))$', r'INDEX \1 \2', index)
             for table, index in indexes if table == name]
    return 'CREATE VIRTUAL TABLE [%s] USING turdb%s)' % (name, ', '.join([body[:-1]] + items))


def compare(source, target):
    for query in QUERIES.strip().splitlines():
        wanted, got = list(source.execute(query)), list(target.execute(query))
        if got != wanted:
            differing = [(w, g) for w, g in zip(wanted, got) if w != g][:3]
            raise AssertionError('%s\n  %d rows wanted, %d got; first differences (wanted, got): %s'
                                 % (query, len(wanted), len(got), differing))


def thirty_queries(scratch):
    expect(len(QUERIES.strip().splitlines()) >= 30)


def ordinary_tables_answer_as_in_stock_sqlite(scratch):
    load()
    source, target = original(), connect('app')
    tables, indexes = schema(source)
    for sql in [t[1] for t in tables] + [i[1] for i in indexes]:
        target.execute(sql)
    copy_rows(source, target, tables)
    compare(source, target)
    target.close()
    target = connect('app')
    compare(source, target)
    expect_equal(value(target, 'PRAGMA integrity_check'), 'ok')
    expect_equal(value(target, 'SELECT turdb_check()'), 'ok')


def turdb_tables_answer_as_in_stock_sqlite(scratch):
    load()
    source, target = original(), connect('app')
    tables, indexes = schema(source)
    for name, sql in tables:
        target.execute(turdb_table(name, sql, indexes))
    copy_rows(source, target, tables)
    compare(source, target)
    target.close()
    target = connect('app')
    compare(source, target)
    expect_equal(value(target, 'SELECT turdb_check()'), 'ok')


def turdb_tables_fill_by_insert_select(scratch):
    load()
    source, target = original(), connect('app')
    source_file = sqlite3.connect('plain.db')
    source.backup(source_file)
    source_file.close()
    tables, indexes = schema(source)
    target.execute("ATTACH 'plain.db' AS plain")
    for name, sql in tables:
        target.execute(turdb_table(name, sql, indexes))
        target.execute('INSERT INTO main.[%s] SELECT * FROM plain.[%s]' % (name, name))
    target.execute('DETACH plain')
    compare(source, target)


main(globals(), BOTH_HOMES)
