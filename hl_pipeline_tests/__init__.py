"""Tests, in the same rooms and under the same file names as what they test; fakes and fixtures in conftest."""
