package clerk

// What the tests look at from inside.
var CleanText = cleanText

const MaxMillis = maxMillis
