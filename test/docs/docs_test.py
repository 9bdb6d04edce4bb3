"""The pages under docs/ say what is there: each invariant stands in the file that defines it, is named where the code keeps it
and over a test case that fails when it is broken; tests and functions that are named exist, each format has its version, each
source file opens with a chapter that bears its name.
"""
import pathlib
import re
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
from sql import *  # noqa: F401,F403,E402

LAYERS = ['base', 'wal', 'vfs', 'btree', 'hnsw', 'vtab', 'ext']
INVARIANTS = (TOP / 'docs/INVARIANTS.md').read_text()
SOURCES = {str(p.relative_to(TOP)): p.read_text() for layer in LAYERS for p in sorted((TOP / layer).glob('*.[ch]'))}
TESTS = {str(p.relative_to(TOP)): p.read_text() for p in sorted((TOP / 'test').glob('*/*')) if p.suffix in ('.c', '.h', '.py', '.sh')}
PAGES = [TOP / 'README.md', TOP / 'test/README.md'] + sorted((TOP / 'docs').glob('*.md'))
CASES = {name: text for name, text in TESTS.items() if name != 'test/docs/docs_test.py'}


NAME = r'(?:rule \d+|[a-z]+/[a-z_0-9]+ [A-Z]\d)'
NAMES = re.compile(r'\((%s(?:, %s)*)\)' % (NAME, NAME))
CASE = re.compile(r'(?:static void|ON_A_\w+|TEST_WITH|def)[ (](\w+)\(?')


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


def chapter(name):
    return SOURCES[name].partition('*/')[0]


def bare(text):
    return set(re.findall(r'\(([A-Z]\d)\)', text))


def invariants():
    """'rule 4' and 'vfs/slot S1': every one that the page lists."""
    found = {'rule %s' % number for number in re.findall(r'^(\d+)\. \*\*', INVARIANTS, re.M)}
    for files, text, _ in rows():
        for number in numbers(text):
            homes = [name for name in files if number in bare(chapter(name))]
            expect_equal((number, files, len(homes)), (number, files, 1))
            found.add('%s %s' % (homes[0].rpartition('.')[0], number))
    return found


def named(text):
    """(names, what follows the comment they are in) for each '(vfs/slot S1, rule 4)'."""
    flat = re.sub(r'\n[ \t]*(?:\*|#)?[ \t]+', ' ', text)
    for match in NAMES.finditer(flat):
        comment, _, behind = flat[match.end():].partition('\n')
        yield match.group(1).split(', '), behind


def kept():
    """What the code names beyond the chapter that defines it."""
    found = set()
    for name, text in SOURCES.items():
        own = bare(chapter(name))
        found |= {'%s %s' % (name.rpartition('.')[0], number) for number in bare(text.partition('*/')[2]) & own}
        for names, _ in named(text.partition('*/')[2]):
            found |= set(names)
    return found


def held():
    """What tests name."""
    return {each for text in CASES.values() for names, _ in named(text) for each in names}


def each_invariant_is_named_where_the_code_keeps_it(scratch):
    expect_equal(sorted(invariants() - kept()), [])


def each_invariant_is_named_over_a_test_that_fails_without_it(scratch):
    expect_equal(sorted(invariants() - held()), [])


def no_number_is_named_that_does_not_exist(scratch):
    listed = invariants()
    expect(len(listed) > 130, 'only %d invariants were found' % len(listed))
    expect_equal(sorted((kept() | held()) - listed), [])
    for name, text in SOURCES.items():
        strange = bare(text) - bare(chapter(name))
        expect(not strange, '%s names %s, which its chapter does not: of another file it is (folder/file X1)' %
               (name, ', '.join(sorted(strange))))
        missing = {'%s %s' % (name.rpartition('.')[0], number) for number in bare(chapter(name))} - listed
        expect(not missing, 'docs/INVARIANTS.md has not %s' % ', '.join(sorted(missing)))


def a_number_in_a_test_stands_over_a_case(scratch):
    for name, text in CASES.items():
        for names, behind in named(text):
            case = CASE.match(behind)
            expect(case, '%s: %s is not over a case but %r' % (name, ', '.join(names), behind[:60]))
            expect(not name.endswith('.c') or 'CASE(%s)' % case.group(1) in text, '%s: %s is no case' % (name, case.group(1)))


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


def a_file_that_is_named_exists(scratch):
    """With or without a link; links are looked at in test/ext/readme_test.py."""
    for page in PAGES:
        for name in set(re.findall(r'(?<![\w/.:*])((?:%s|test|bench|tools|docs|examples)/[\w/]+\.(?:c|h|py|sh|md|mk|list))\b' % '|'.join(LAYERS),
                                   page.read_text())):
            expect((TOP / name).exists() or (page.parent / name).exists(), '%s names %s' % (page.name, name))


def a_make_target_that_is_named_exists(scratch):
    rules = '\n'.join(p.read_text() for p in [TOP / 'Makefile'] + sorted(TOP.glob('*/*.mk')))
    targets = {name for line in re.findall(r'^([\w. -]+):(?!=)', rules, re.M) for name in line.split()}
    for page in PAGES:
        for words in re.findall(r'(?:`|^    )make ((?:[\w=-]+ ?)+)', page.read_text(), re.M):
            for word in words.split():
                expect('=' in word or word.startswith('-') or word in targets, '%s names make %s' % (page.name, word))


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


def nothing_is_kept_that_a_run_left_behind(scratch):
    """The top level is the layers, a few folders beside them, and what the README begins with."""
    listed = subprocess.run(['git', '-C', TOP, 'ls-files', '-z'], capture_output=True, text=True)
    if listed.returncode or not listed.stdout:
        return skip('no list of the files that are kept')
    top = {name.partition('/')[0] for name in listed.stdout.split('\0') if name}
    known = set(LAYERS) | {'test', 'bench', 'docs', 'tools', 'examples', 'README.md', 'CHANGELOG.md', 'Makefile', 'turdb_ext.def'}
    expect_equal(sorted(name for name in top - known if not name.startswith('.')), [])
    expect_equal([name for name in listed.stdout.split('\0') if name.endswith(('turdb.meta', 'turdb.shm'))], [])


main(globals())
