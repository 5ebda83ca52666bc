//! Files that are whole, or as they were.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Writes the file anew beside the old one, and puts it in its place. What is no file, as `/dev/stdout`, is written to as it is.
///
/// # Errors
///
/// When it cannot be written: then the old one is as it was.
pub(crate) fn write(file: &Path, text: &str) -> io::Result<()> {
    if fs::metadata(file).is_ok_and(|found| !found.is_file()) {
        return fs::write(file, text);
    }
    let mut beside = file.to_owned().into_os_string();
    beside.push(".new");
    let written =
        File::create(&beside).and_then(|mut new| new.write_all(text.as_bytes()).and_then(|()| new.sync_all()));
    let placed = written.and_then(|()| fs::rename(&beside, file));
    placed.inspect_err(|_| drop(fs::remove_file(&beside)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_replaced_stays_as_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("page");
        write(&file, "one").unwrap();
        write(&file, "two").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "two");
        // Where the new one would be written, there is a directory.
        fs::create_dir(directory.path().join("page.new")).unwrap();
        assert!(write(&file, "three").is_err());
        assert_eq!(fs::read_to_string(&file).unwrap(), "two");
        assert!(write(&directory.path().join("none/page"), "x").is_err());
    }

    #[test]
    fn nothing_is_left_behind() {
        let directory = tempfile::tempdir().unwrap();
        write(&directory.path().join("page"), "one").unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        write(Path::new("/dev/null"), "x").unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file() && !Path::new("/dev/null.new").exists());
    }
}
