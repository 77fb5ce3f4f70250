//! Changes single values in the text of a profile and leaves everything else as it is written.

use toml::de::{DeTable, DeValue};

/// Where a value stands.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place<'a> {
    /// A key outside of all tables.
    Root(&'a str),
    /// A key of a table.
    Table(&'a str, &'a str),
    /// A key of the last `[[memory]]` table.
    LastMemory(&'a str),
}

/// The text with one value replaced, or added where the key is not there yet.
///
/// The text has to be that of a profile.
pub(crate) fn set(text: &str, place: Place<'_>, value: &str) -> String {
    let root = DeTable::parse(text).expect("the text was parsed before");
    let root = root.get_ref();
    let (table, key, header) = match place {
        Place::Root(key) => (Some(root), key, None),
        Place::Table(name, key) => {
            let table = root.get(name).expect("a profile has this table");
            (table.get_ref().as_table(), key, Some(table.span()))
        }
        Place::LastMemory(key) => {
            let levels = root.get("memory").and_then(|memory| memory.get_ref().as_array());
            let last = levels.and_then(|levels| levels.iter().last());
            let last = last.expect("a profile has memory levels");
            (last.get_ref().as_table(), key, Some(last.span()))
        }
    };
    let table = table.expect("a profile's tables are tables");
    if let Some(old) = table.get(key) {
        let span = old.span();
        return format!("{}{value}{}", &text[..span.start], &text[span.end..]);
    }
    // A new key goes below the header of its table, or below the profile's first key.
    let after = match header {
        Some(span) => span.start,
        None => first_value_end(root),
    };
    let line_end = text[after..].find('\n').map_or(text.len(), |end| after + end);
    format!("{}\n{key} = {value}{}", &text[..line_end], &text[line_end..])
}

fn first_value_end(root: &DeTable<'_>) -> usize {
    let plain = root.values().filter(|value| !matches!(value.get_ref(), DeValue::Table(_)));
    plain.map(|value| value.span().end).min().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_replaced_or_added_where_they_belong() {
        let text = "# mine\nschema = 1 # first\nclock_hz = 2e9\n[compute]\nrows = 4 # few\n\
                    [[memory]]\nbytes = 1\n[[memory]]\nbytes = 2\n";
        for (place, value, expected) in [
            (Place::Table("compute", "rows"), "8", "rows = 8 # few\n"),
            (Place::Table("compute", "efficiency"), "0.5", "[compute]\nefficiency = 0.5\nrows"),
            (Place::Root("clock_hz"), "1e9", "clock_hz = 1e9\n"),
            (Place::Root("batch"), "4", "schema = 1 # first\nbatch = 4\nclock_hz"),
            (Place::LastMemory("bytes"), "3", "bytes = 1\n[[memory]]\nbytes = 3\n"),
            (Place::LastMemory("bw"), "7", "bytes = 1\n[[memory]]\nbw = 7\nbytes = 2\n"),
        ] {
            let changed = set(text, place, value);
            assert!(changed.contains(expected), "{place:?}:\n{changed}");
        }
    }
}
