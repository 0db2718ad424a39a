package clerk

// CleanText is cleanText.
var CleanText = cleanText

const MaxMillis = maxMillis
