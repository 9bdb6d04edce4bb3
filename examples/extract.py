#!/usr/bin/python3
"""Makes examples/data/packages.txt.xz, the extract that demo.py reads on machines without Debian's package lists.

  apt-cache dumpavail | examples/extract.py > examples/data/packages.txt.xz

Keeps some whole sections, so that neighbours stay neighbours, the fields that the demo reads, and each name once.
"""
import lzma
import re
import sys

SECTIONS = {'editors', 'database', 'games', 'libs', 'mail', 'shells', 'sound', 'text'}
FIELDS = ('Package', 'Version', 'Installed-Size', 'Depends', 'Description', 'Section', 'Size')
seen = set()
kept = []
for stanza in sys.stdin.read().split('\n\n'):
    fields = dict(re.findall(r'^([A-Z][\w-]*): (.*)$', stanza, re.M))
    name = fields.get('Package')
    if name and name not in seen and fields.get('Section') in SECTIONS and 'Description' in fields:
        seen.add(name)
        kept.append('\n'.join('%s: %s' % (field, fields[field]) for field in FIELDS if field in fields))
sys.stdout.buffer.write(lzma.compress('\n\n'.join(kept).encode(), preset=9 | lzma.PRESET_EXTREME))
