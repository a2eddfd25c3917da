package event

// Field returns the values with which a filter compares the field at a dotted
// path of the envelope, for example "type", "data.stage" or
// "metadata.folderId": one value for a scalar, one for each scalar element of
// an array, and none where the field is missing, null or an object. Strings
// are decoded; numbers and booleans are as they stand in the body. Names that
// hold a dot cannot be reached.
func (e *Event) Field(path string) []string { return nil }
