#!/usr/bin/python3
"""SQLite's own speedtest1 on its default VFS and on TurDB's, in turns.

  speedtest_bench.py [--size N] [--rounds N] [--source speedtest1.c] [--build DIR] [--directory DIR]

Both sides: 16 KB pages, 64 MB of page cache, write-ahead logging, synchronous=FULL (SQLite's default) and once more
OFF. Prints the medians over rounds of CPU time (user and system, of the whole process) and wall time, their ratios
round by round, and the parts of the test in which the sides differ most. The first round warms up and does not count.
speedtest1.c comes from SQLite's Debian source package, fetched by test/sqlite-suite --prepare when it is not there.
"""
import argparse
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parents[1]


def source_find():
    cache = pathlib.Path(os.environ.get('SQLITE_SUITE_CACHE', TOP / 'build/sqlite-suite'))
    found = sorted(cache.glob('source/sqlite3-*/test/speedtest1.c'))
    if not found:
        subprocess.run([TOP / 'test/sqlite-suite', '--prepare'], check=True)
        found = sorted(cache.glob('source/sqlite3-*/test/speedtest1.c'))
    if not found:
        sys.exit('speedtest1.c is in no source package under %s' % cache)
    return found[-1]


def program_build(source, build):
    program = build / 'bench/speedtest1'
    program.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(['gcc', '-O2', '-w', '-Dmain=speedtest1_main', '-c', source, '-o', '%s.o' % program], check=True)
    subprocess.run(['gcc', '-O2', TOP / 'bench/speedtest_main.c', '%s.o' % program, '-o', program, '-lsqlite3', '-lm'],
                   check=True)
    return program


def side_command(program, side, extension, size, synchronous, directory):
    options = ['--size', str(size), '--cachesize', '4096'] + \
              (['--nosync'] if synchronous == 'OFF' else [])
    if side == 'native':
        return [program, '-'] + options + ['--journal', 'wal', '--pagesize', '16384', directory / 'native.db']
    return [program, extension] + options + ['--vfs', 'turdb-always', directory / 'door']


def side_run(command):
    """(CPU seconds, wall seconds, {part: wall seconds})"""
    begin = time.monotonic()
    process = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               text=True)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - begin
    if status:
        sys.exit('%s: status %d\n%s' % (command[0], status, output[-2000:]))
    parts = {name.strip('. '): float(seconds)
             for name, seconds in re.findall(r'^ *(\d+ - .*?)\.\.+ +([\d.]+)s$', output, re.M)}
    return usage.ru_utime + usage.ru_stime, wall, parts


def one_setting(program, arguments, synchronous):
    figures = {'native': [], 'door': []}
    for _ in range(arguments.rounds + 1):
        for side in figures:
            directory = pathlib.Path(tempfile.mkdtemp(prefix='speedtest-', dir=arguments.directory))
            figures[side].append(side_run(side_command(program, side, arguments.build / 'turdb.so', arguments.size,
                                                       synchronous, directory)))
            shutil.rmtree(directory)
    native, door = figures['native'][1:], figures['door'][1:]
    for at, name in enumerate(('CPU s', 'wall s')):
        print('synchronous=%-7s %-7s native %7.2f  door %7.2f  ratio %5.2f'
              % (synchronous, name, statistics.median(f[at] for f in native), statistics.median(f[at] for f in door),
                 statistics.median(d[at] / n[at] for d, n in zip(door, native))))
    times = [(name, statistics.median(f[2].get(name, 0) for f in native),
              statistics.median(f[2].get(name, 0) for f in door)) for name in native[0][2]]
    times.sort(key=lambda part: part[1] - part[2])
    for name, ours, theirs in times[:4] + times[-3:]:
        print('    %-60s %7.3f %7.3f' % (name, ours, theirs))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--size', type=int, default=100)
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--source', type=pathlib.Path)
    parser.add_argument('--build', type=pathlib.Path, default=TOP / 'build/release')
    parser.add_argument('--directory', type=pathlib.Path, default=None)
    arguments = parser.parse_args()
    program = program_build(arguments.source or source_find(), arguments.build)
    print('speedtest1 --size %d, %d rounds' % (arguments.size, arguments.rounds))
    for synchronous in ('FULL', 'OFF'):
        one_setting(program, arguments, synchronous)


if __name__ == '__main__':
    main()
