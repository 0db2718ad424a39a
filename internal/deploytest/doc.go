// Package deploytest tests the files of deploy as their users run them: the program and
// nats-server as processes of their own, with the configurations that are there. It has no
// code.
package deploytest
