#!/bin/bash
# The tour, in small: on the extract that the repository has, and on this machine's package lists where there are any.
top=$(cd "$(dirname "$0")/../.." && pwd)
library=${TURDB_SO:-$top/build/release/turdb.so}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
passed=0 failed=0 skipped=0
case ${TURDB_BUILD:-} in
*/asan) export LD_PRELOAD=$(gcc -print-file-name=libasan.so) ASAN_OPTIONS=detect_leaks=0 ;;
*/tsan) export LD_PRELOAD=$(gcc -print-file-name=libtsan.so) TSAN_OPTIONS=ignore_noninstrumented_modules=1 ;;
esac

# tour NAME ARGUMENT...: the demo must end well and say so
tour() {
	local name=$1
	shift
	if output=$(cd "$scratch" && /usr/bin/python3 "$top/examples/demo.py" --library "$library" "$@" 2>&1) &&
		grep -q '^== Done' <<<"$output" && [ "$(grep -c '^    right: ' <<<"$output")" -ge 6 ]; then
		echo "ok $name"
		passed=$((passed + 1))
	else
		echo "FAIL $name: $(tail -3 <<<"$output")"
		failed=$((failed + 1))
	fi
}

packages=$(awk -v scale="${TEST_SCALE:-1}" 'BEGIN { print scale < 1 ? 300 : 1500 }')
tour the_tour_runs_on_the_extract --packages "$packages" --lists "$top/examples/data/packages.txt.xz"
tour the_tour_removes_what_it_left_before --packages 300 --lists "$top/examples/data/packages.txt.xz"
if command -v apt-cache >/dev/null && [ "$(apt-cache dumpavail 2>/dev/null | grep -c ^Package:)" -gt 1000 ]; then
	tour the_tour_runs_on_this_machines_lists --packages 300
else
	echo "skip the_tour_runs_on_this_machines_lists: no package lists"
	skipped=$((skipped + 1))
fi
echo "total: $passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]
