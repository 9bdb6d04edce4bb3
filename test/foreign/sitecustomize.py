"""Runs in every Python of test/foreign-suites before anything else: TurDB becomes the default VFS, as always.c says.

Programs remove a database as a file: os.remove() of a directory that is a database removes it. The results of unittest go to
the file that TURDB_RESULTS names, a line "ok|FAIL|ERROR|skip ID" each.
"""
import os
import shutil
import sqlite3


def load():
    con = sqlite3.connect(':memory:')
    con.enable_load_extension(True)
    for name in ('TURDB_SO', 'TURDB_ALWAYS'):
        if os.environ.get(name):
            con.load_extension(os.environ[name])
    con.close()


def removing_databases(remove):
    def either(path, *arguments, **named):
        try:
            return remove(path, *arguments, **named)
        except IsADirectoryError:
            if not os.path.exists(os.path.join(os.fsencode(path), b'turdb.meta')):
                raise
            shutil.rmtree(path)
    return either


def record_results(path):
    import unittest

    def write(word, test):
        with open(path, 'a') as out:
            out.write('%s %s\n' % (word, test.id().replace('\n', ' ')))

    def recording(method, word):
        inner = getattr(unittest.TestResult, method)

        def outer(self, test, *arguments):
            write(word, test)
            return inner(self, test, *arguments)
        setattr(unittest.TestResult, method, outer)

    for method, word in (('addSuccess', 'ok'), ('addExpectedFailure', 'ok'), ('addSkip', 'skip'), ('addFailure', 'FAIL'),
                         ('addUnexpectedSuccess', 'FAIL'), ('addError', 'ERROR')):
        recording(method, word)
    subtest_ended = unittest.TestResult.addSubTest

    def add_subtest(self, test, subtest, error):
        if error is not None:
            write('FAIL', test)
        return subtest_ended(self, test, subtest, error)
    unittest.TestResult.addSubTest = add_subtest


load()
os.remove, os.unlink = removing_databases(os.remove), removing_databases(os.unlink)
if os.environ.get('TURDB_RESULTS'):
    record_results(os.environ['TURDB_RESULTS'])
