# Every test at ten times its usual size: among them a million transactions judged for isolation.
torture: test-programs
	TEST_SCALE=10 TEST_TIMEOUT=14400 test/run $(OUT)
