# tester_tail.tcl - appended to SQLite's tester.tcl: how its helpers see a database that is a directory.
#
# A directory database counts as one thing: copying and deleting mean all of it. Its size and its bytes are those that
# SQLite has written through the VFS. [open] of one gives a channel on a copy; closing the channel writes back what
# changed, in one transaction.

if {[info exists ::env(TURDB_SO)]} {

load {} Turdbbytes

proc is_database {name} { plain_file exists [plain_file join $name turdb.meta] }

if {[info commands plain_file] eq ""} {
  rename file plain_file
  rename open plain_open
  rename close plain_close
  rename hexio_read plain_hexio_read
  rename hexio_write plain_hexio_write
}

proc file {verb args} {
  switch -- $verb {
    size {
      if {[is_database [lindex $args 0]]} { return [turdb_size [lindex $args 0]] }
    }
    isfile {
      if {[is_database [lindex $args 0]]} { return 1 }
    }
    isdirectory {
      if {[is_database [lindex $args 0]]} { return 0 }
    }
    delete {
      foreach name $args {
        if {[is_database $name]} { plain_file delete -force $name }
      }
    }
    copy - rename {
      set to [lindex $args end]
      if {[lindex $args 0] eq "-force" && [is_database $to]} { plain_file delete -force $to }
    }
  }
  tailcall plain_file $verb {*}$args
}

# Written as new, a database becomes an ordinary file; otherwise a copy is opened.
proc open {name {access r} args} {
  if {[string match |* $name] || ![is_database $name]} { tailcall plain_open $name $access {*}$args }
  if {[string match w* $access] || [lsearch -exact $access TRUNC] >= 0} {
    plain_file delete -force $name
    tailcall plain_open $name $access {*}$args
  }
  set bytes [plain_file join $::env(HOME) bytes.[incr ::database_copies]]
  set copy [plain_open $bytes w]
  fconfigure $copy -translation binary
  puts -nonewline $copy [turdb_read $name 0 [turdb_size $name]]
  plain_close $copy
  set channel [plain_open $bytes $access {*}$args]
  set ::database_channel($channel) [list [plain_file normalize $name] $bytes]
  return $channel
}

proc close {channel args} {
  plain_close $channel {*}$args
  if {![info exists ::database_channel($channel)]} return
  lassign $::database_channel($channel) name path
  unset ::database_channel($channel)
  set copy [plain_open $path r]
  fconfigure $copy -translation binary
  set bytes [read $copy]
  plain_close $copy
  plain_file delete $path
  if {![is_database $name]} return
  set size [turdb_size $name]
  if {$bytes eq [turdb_read $name 0 $size]} return
  turdb_write $name 0 $bytes
  if {[string length $bytes] < $size} { turdb_cut $name [string length $bytes] }
}

proc hexio_read {name offset count} {
  if {![is_database $name]} { tailcall plain_hexio_read $name $offset $count }
  set left [expr {[turdb_size $name] - $offset}]
  if {$left < $count} { set count [expr {$left < 0 ? 0 : $left}] }
  binary scan [turdb_read $name $offset $count] H* hex
  string toupper $hex
}

proc hexio_write {name offset hex} {
  if {![is_database $name]} { tailcall plain_hexio_write $name $offset $hex }
  set bytes [binary format H* $hex]
  turdb_write $name $offset $bytes
  string length $bytes
}

}
