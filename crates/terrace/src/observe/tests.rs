/// The line of a manual's file from which on it comes from a table of the code.
const GENERATED: &str =
    "<!-- generated from the code below this line: UPDATE_MANUAL=1 cargo test -p terrace manual -->\n";

/// Compares the generated end of a chapter with what it should be, or writes it when `UPDATE_MANUAL` is set.
pub(crate) fn manual(file: &str, generated: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/manual").join(file);
    let chapter = std::fs::read_to_string(&path).unwrap();
    let (intro, table) = chapter.split_once(GENERATED).unwrap();
    if std::env::var_os("UPDATE_MANUAL").is_some() {
        std::fs::write(path, format!("{intro}{GENERATED}\n{generated}")).unwrap();
    } else {
        assert!(table.trim_start() == generated, "{file} is out of date: UPDATE_MANUAL=1 cargo test -p terrace manual");
    }
}
