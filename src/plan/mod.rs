//! Where every unit goes and what each device will hold; pure functions on plain data.
