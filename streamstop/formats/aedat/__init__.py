"""iniVation's formats: AEDAT 1.0, 2.0, 3.1 and 4."""
