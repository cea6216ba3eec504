// Package gate holds the scripts that the Makefile runs:
//
//   - setup.sh finds or installs the programs that the tests need.
//   - vuln.sh looks for known vulnerabilities.
//
// There is no code here but the tests of the scripts.
package gate
