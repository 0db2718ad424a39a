// Package config is what clerksync can be told: one struct, read from flags and
// environment variables by the command line, validated as a whole.
package config
