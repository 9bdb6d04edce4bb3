# Runs in every Perl of test/foreign-suites before anything else: TurDB becomes the default VFS, as always.c says, and unlink
# of a directory that is a database removes it.
package TurdbAlways;
use strict;
use warnings;
use File::Path ();

BEGIN {
	*CORE::GLOBAL::unlink = sub {
		my $removed = 0;
		for my $path (@_ ? @_ : $_) {
			if (-e "$path/turdb.meta") {
				File::Path::remove_tree($path);
				$removed++;
			} else {
				$removed += CORE::unlink($path);
			}
		}
		return $removed;
	};
}

use DBI;

my $dbh = DBI->connect('dbi:SQLite:dbname=:memory:', '', '', { RaiseError => 1 });
$dbh->sqlite_enable_load_extension(1);
for my $name ('TURDB_SO', 'TURDB_ALWAYS') {
	$dbh->sqlite_load_extension($ENV{$name}) if $ENV{$name};
}
$dbh->disconnect;
1;
