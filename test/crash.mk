# The same crash tests at twenty times their usual size: more than 200,000 states.
crash: test-programs
	TEST_SCALE=20 TEST_TIMEOUT=7200 test/run $(OUT) crash_test
