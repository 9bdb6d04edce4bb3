"""The pages under docs/ say what is there: invariants stand in the files that are to keep them, tests and functions that are
named exist, each format has its version, each source file opens with a chapter that bears its name.
"""
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
from sql import *  # noqa: F401,F403,E402

LAYERS = ['base', 'wal', 'vfs', 'btree', 'hnsw', 'vtab', 'ext']
INVARIANTS = (TOP / 'docs/INVARIANTS.md').read_text()
SOURCES = {str(p.relative_to(TOP)): p.read_text() for layer in LAYERS for p in sorted((TOP / layer).glob('*.[ch]'))}
TESTS = {str(p.relative_to(TOP)): p.read_text() for p in sorted((TOP / 'test').glob('*/*')) if p.suffix in ('.c', '.h', '.py', '.sh')}


def numbers(text):
    """F1-F3 -> F1 F2 F3."""
    for letter, first, last in re.findall(r'\b([A-Z])(\d)(?:-[A-Z](\d))?', text):
        for number in range(int(first), int(last or first) + 1):
            yield '%s%d' % (letter, number)


def rows():
    """(files, invariants, tests) of each line of the table by file."""
    table = INVARIANTS.split('## By file')[1]
    for line in table.splitlines():
        cells = [cell.strip() for cell in line.split('|')[1:-1]]
        if len(cells) == 4 and not set(cells[0]) <= set('-') and cells[0] != 'where':
            folder, files = '', []
            for name in cells[0].split(', '):
                folder = name.rpartition('/')[0] or folder
                files.append('%s/%s' % (folder, name.rpartition('/')[2]))
            yield files, cells[1], cells[3]


def an_invariant_stands_where_it_is_kept(scratch):
    count = 0
    for files, invariants, _ in rows():
        for name in files:
            expect(name in SOURCES, 'docs/INVARIANTS.md names %s' % name)
        for number in numbers(invariants):
            expect(any('(%s)' % number in SOURCES[name] for name in files), '(%s) is not in %s' % (number, ' or '.join(files)))
            count += 1
    expect(count > 60, 'only %d invariants were found' % count)


def an_invariant_of_a_file_is_on_the_page(scratch):
    """Numbers in the chapter with which a file opens; who keeps another file's invariant may name it too."""
    listed = {}
    for files, invariants, _ in rows():
        for name in files:
            listed.setdefault(name.partition('/')[0], set()).update(numbers(invariants))
    for name, text in SOURCES.items():
        chapter = text.partition('*/')[0]
        missing = set(re.findall(r'\(([A-Z]\d)\)', chapter)) - listed.get(name.partition('/')[0], set())
        expect(not missing, '%s has %s, docs/INVARIANTS.md has not' % (name, ', '.join(sorted(missing))))


def a_test_that_is_named_exists(scratch):
    files = {pathlib.PurePath(name).stem for name in TESTS}
    for name in set(re.findall(r'\b([a-z_0-9]+_test)\b', INVARIANTS)):
        expect(name in files, 'docs/INVARIANTS.md names %s' % name)
    cases = '\n'.join(TESTS.values())
    for name in set(re.findall(r'`([a-z_0-9]+)`', INVARIANTS)) - {'assert', 'built'}:
        expect(re.search(r'\b%s\b' % name, cases), 'docs/INVARIANTS.md names the case %s' % name)


def a_function_that_is_named_exists(scratch):
    code = '\n'.join(SOURCES.values())
    for page in sorted((TOP / 'docs').glob('*.md')):
        for name in set(re.findall(r'`((?:store|wal|btree|hnsw|vfs|vtab|door|space|page)_[a-z_0-9]+)\(', page.read_text())):
            expect(re.search(r'\b%s\(' % name, code), '%s names %s()' % (page.name, name))


def a_format_has_the_version_that_the_page_says(scratch):
    page = (TOP / 'docs/FORMATS.md').read_text()
    for name, text in SOURCES.items():
        if not name.endswith('_format.h'):
            continue
        line = re.search(r'^\| \[%s\].*$' % re.escape(name), page, re.M)
        expect(line, '%s is missing in docs/FORMATS.md' % name)
        told = line.group(0).split('|')[4].strip()
        defined = re.findall(r'\b\w*(?:VERSION|LAYOUT) = (\d+)', text)
        expect_equal((name, told), (name, defined[0] if defined else 'none'))
        expect(re.search(r'\b[Vv]alid\b', text), '%s does not say when its bytes are valid' % name)
        expect(re.search(r'\b[Vv]ersion|layout\b', text), '%s says nothing about versions' % name)


def a_file_opens_with_a_chapter_of_its_name(scratch):
    for name, text in list(SOURCES.items()) + [item for item in TESTS.items() if item[0].endswith(('.c', '.h'))]:
        expect(text.startswith('/*\n * %s - ' % pathlib.PurePath(name).name), '%s opens with %r' % (name, text[:60]))


main(globals())
