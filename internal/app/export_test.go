package app

// CheckOurs is checkOurs, for a test that cannot change its user.
var CheckOurs = checkOurs
