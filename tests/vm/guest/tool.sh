#!/bin/bash
# SPDX-License-Identifier: MIT
#
# The command over dev:, in the virtual machine.
# Not the tests: those are tests/tool/test_dev.sh, which image.sh puts there.
# Prints TAP.
HFTCHAN_BIN=/bin/hftchan exec /tests/tool/test_dev.sh /
