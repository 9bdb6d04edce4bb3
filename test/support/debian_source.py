"""Debian source packages, by `apt-get source` with lists of its own, made from the machine's: nothing of the system's apt is touched."""
import pathlib
import re
import shutil
import subprocess


class Unavailable(Exception):
    """It cannot be had here: a reason to skip, not to fail."""


def run_logged(command, log, what, **rest):
    with open(log, 'ab') as output:
        if subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, **rest).returncode:
            tail = ' | '.join(pathlib.Path(log).read_text(errors='replace').strip().splitlines()[-3:])
            raise Unavailable('%s: %s (%s)' % (what, tail[-300:], log))


def source_lists():
    """The machine's own package lists, for sources: (file name, text) of each."""
    parts = pathlib.Path('/etc/apt/sources.list.d')
    for path in [pathlib.Path('/etc/apt/sources.list')] + sorted(parts.glob('*.list')) + sorted(parts.glob('*.sources')):
        if not path.is_file():
            continue
        text = path.read_text()
        if path.suffix == '.sources':
            text = re.sub(r'^Types:.*$', 'Types: deb-src', text, flags=re.M)
        else:
            text = ''.join(re.sub(r'^deb\s', 'deb-src ', line) + '\n' for line in text.splitlines()
                           if re.match(r'deb\s', line))
        if text.strip():
            yield path.name, text


def lists_read(apt):
    """Private lists below `apt`; answers apt-get's options for them."""
    for directory in (apt / 'lists/partial', apt / 'archives/partial', apt / 'parts'):
        directory.mkdir(parents=True)
    for name, text in source_lists():
        (apt / 'parts' / name).write_text(text)
    options = ['-qq', '-o', 'Dir::Etc::sourcelist=/dev/null', '-o', 'Dir::Etc::sourceparts=%s' % (apt / 'parts'),
               '-o', 'Dir::State::lists=%s' % (apt / 'lists'), '-o', 'Dir::Cache=%s' % apt,
               '-o', 'APT::Sandbox::User=root', '-o', 'Acquire::Retries=1', '-o', 'Acquire::http::Timeout=20']
    subprocess.run(['apt-get'] + options + ['update'], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return options


def versions_known(package, options):
    shown = subprocess.run(['apt-cache'] + options + ['showsrc', package], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return re.findall(r'^Version: (\S+)', shown.stdout, re.M)


def source_fetch(home, package, log, version=''):
    """Answers the unpacked source of a package, below `home`; without a version of any that can be had, the newest first."""
    name = package + '-*/'
    if (home / 'done').exists() and (home / 'done').read_text() == version:
        return next(home.glob(name))
    if not shutil.which('dpkg-source'):
        raise Unavailable('get the source package of %s: no dpkg-source; install dpkg-dev' % package)
    shutil.rmtree(home, ignore_errors=True)
    apt = home / 'apt'
    options = lists_read(apt)
    wishes = [version] if version else versions_known(package, options) or ['']
    for wish in wishes:
        try:
            run_logged(['apt-get'] + options + ['source', package + ('=' + wish if wish else '')], log,
                       'get the source package of %s' % package, cwd=home)
            break
        except Unavailable:
            if wish == wishes[-1]:
                raise
    shutil.rmtree(apt)
    (home / 'done').write_text(version)
    return next(home.glob(name))
