// Package config is the configuration of clerksync: one struct, read from flags and
// environment variables by the command line, with its defaults and validation.
package config
