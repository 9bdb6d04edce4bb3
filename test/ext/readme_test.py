"""README.md keeps its word: its SQL and Python run, its links lead somewhere; FORMATS.md names every format.

Blocks marked sql run one after the other on one directory database. A comment behind a statement is what it must
answer: rows separated by commas, columns by bars. Blocks marked python run by themselves beside turdb.so.
"""
import pathlib
import re
import shlex
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
from sql import *  # noqa: F401,F403,E402

README = (TOP / 'README.md').read_text()


def blocks(kind):
    return re.findall(r'^```%s\n(.*?)^```' % kind, README, re.M | re.S)


def statements(block):
    """(statement, what the comment behind it says or None) of each one, ended where SQLite says so."""
    text = ''
    for line in block.splitlines():
        code, _, comment = line.partition('--')
        text += code + '\n'
        if sqlite3.complete_statement(text):
            yield text.strip(), comment.strip() or None
            text = ''
    expect_equal(text.strip(), '')


def cell_text(cell):
    return 'NULL' if cell is None else '%.4g' % cell if isinstance(cell, float) else str(cell)


def sql_gives_what_its_comments_say(scratch):
    load()
    db = connect('app')
    count = 0
    for block in blocks('sql'):
        for statement, answer in statements(block):
            try:
                rows = db.execute(statement).fetchall()
            except sqlite3.Error as error:
                raise AssertionError('%s gives %s' % (statement, error)) from error
            if answer is not None:
                expect_equal((statement, ', '.join('|'.join(map(cell_text, row)) for row in rows)),
                             (statement, answer))
                count += 1
    expect(count >= 8, 'only %d answers compared' % count)
    expect_equal(value(db, 'SELECT turdb_check()'), 'ok')


def python_runs(scratch):
    shutil.copy(LIBRARY, 'turdb.so')
    for block in blocks('python'):
        done = subprocess.run([sys.executable, '-c', block], text=True, capture_output=True, timeout=60)
        expect(done.returncode == 0, done.stderr)


def shell_commands_open_a_directory(scratch):
    shutil.copy(LIBRARY, 'turdb.so')
    for block in blocks('sh'):
        done = subprocess.run(shlex.split(block), input='SELECT turdb_version();\n', text=True, capture_output=True,
                              timeout=60)
        expect(done.returncode == 0 and re.match(r'\d+\.\d+\.\d+$', done.stdout.strip()), done.stdout + done.stderr)
    expect(os.path.isdir('app'))


def links_lead_to_files(scratch):
    for page in ['README.md', 'CHANGELOG.md', 'test/README.md'] + ['docs/' + p.name for p in (TOP / 'docs').glob('*.md')]:
        for link in re.findall(r'\]\(([^)#]+)\)', (TOP / page).read_text()):
            if '://' not in link:
                expect(((TOP / page).parent / link).exists(), '%s links to %s' % (page, link))


def every_format_is_in_the_index(scratch):
    index = (TOP / 'docs/FORMATS.md').read_text()
    found = [str(p.relative_to(TOP)) for p in TOP.glob('*/*_format.h')]
    expect(len(found) >= 9)
    for name in found:
        expect('](../%s)' % name in index, '%s is missing in docs/FORMATS.md' % name)


main(globals())
