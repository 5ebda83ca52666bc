//! The text in which a process says its metrics: Prometheus's exposition format, 0.0.4. Own code, because a reader of lines
//! is all that is needed, and what there is for it brings a parser generator or regular expressions.

use crate::prometheus::Labels;

/// One line: what it is called, by which labels, and its value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) labels: Labels,
    pub(crate) value: f64,
}

/// All lines that have a finite value. What cannot be read is left out: it is nothing that Terrace has written.
pub(crate) fn rows(text: &str) -> impl Iterator<Item = Row> {
    text.lines().filter(|line| !line.starts_with('#')).filter_map(row)
}

/// The metrics that it says the type of.
pub(crate) fn names(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
}

fn row(line: &str) -> Option<Row> {
    let end = line.find(['{', ' ', '\t'])?;
    let (name, rest) = line.split_at(end);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (Labels::new(), rest),
    };
    let value: f64 = rest.split_ascii_whitespace().next()?.parse().ok()?;
    value.is_finite().then(|| Row { name: name.to_owned(), labels, value })
}

/// After the opening brace; with what is after the closing one.
fn labels(mut rest: &str) -> Option<(Labels, &str)> {
    let mut all = Labels::new();
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(rest) = rest.strip_prefix('}') {
            return Some((all, rest));
        }
        let (name, quoted) = rest.split_once("=\"")?;
        let (value, after) = unquoted(quoted)?;
        all.insert(name.trim().to_owned(), value);
        rest = after;
    }
}

/// Up to the closing quotation mark; with what is after it.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let (mut value, mut chars) = (String::new(), text.char_indices());
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match chars.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_and_others_left_out() {
        let text = "# HELP a b\n# TYPE a counter\na 1\nb{c=\"d\",e=\"f \\\"}\\\\\\n\",} 2.5e3 1700000000000\n\nnan NaN\ninf{x=\"y\"} +Inf\n\
                    broken{x=\"y 1\nbroken{x 1\nbroken\nlast{} 7";
        let all: Vec<_> = rows(text).collect();
        assert_eq!(all.iter().map(|row| row.name.as_str()).collect::<Vec<_>>(), ["a", "b", "last"]);
        assert_eq!(all[1].labels["e"], "f \"}\\\n");
        assert_eq!(names(text).collect::<Vec<_>>(), ["a"]);
        assert!((all[1].value - 2500.0).abs() < 1e-9 && all[1].labels["c"] == "d" && all[2].labels.is_empty());
    }
}
