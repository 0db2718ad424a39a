// Package house has the rules of this code base that can be checked, as tests. It
// has no code.
package house
