"""TurDB linked into a program: libturdb.a, turdb.h and the example that uses them."""
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'support'))
from sql import *  # noqa: F401,F403,E402


def the_example_of_embedding_builds_and_runs(scratch):
    if SANITIZER:
        skip('the example is built without sanitizers')
    archive = pathlib.Path(scratch, 'libturdb.a')
    objects = [str(p) for folder in ('base', 'wal', 'vfs', 'btree', 'hnsw', 'vtab', 'ext')
               for p in (BUILD / folder).glob('*.o')]
    subprocess.run(['ar', 'rcs', str(archive)] + objects, check=True)
    subprocess.run(['gcc', '-Wall', '-Wextra', '-Werror', '-I' + str(TOP), str(TOP / 'examples/embed.c'), str(archive),
                    '-lsqlite3', '-lzstd', '-lxxhash', '-lm', '-pthread', '-o', 'embed'], check=True)
    for count in (1, 2):
        done = subprocess.run(['./embed', 'app'], text=True, capture_output=True, timeout=60)
        expect(re.fullmatch(r'[\d.]+\|%d\|ok' % count, done.stdout.strip()), done.stdout + done.stderr)


main(globals())
