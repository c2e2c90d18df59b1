//! Tables from files.

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use thousandfold::data::{
    Cells, Column, DataError, DataOptions, Dataset, MISSING, Note, Place, ReadOptions, Table, Target, Task, read_table,
};

const ZOO: &str =
    "size,colour,note,is_open\n1.5,red,\"a, b\",True\n-2e3,,\"two\nlines\",False\nNA,green,\"say \"\"hi\"\"\",True\n";

/// A folder with files that go with it.
struct Files(TempDir);

impl Files {
    fn new() -> Files {
        Files(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn gzip(&self, name: &str, parts: &[&str]) -> PathBuf {
        // Each part is a gzip member of its own, as `cat a.gz b.gz` makes them.
        let members = parts.iter().flat_map(|part| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(part.as_bytes()).unwrap();
            encoder.finish().unwrap()
        });
        self.write(name, members.collect::<Vec<u8>>())
    }

    fn table(&self, text: &str) -> Result<Table, DataError> {
        read_table(&self.write("data.csv", text), &ReadOptions::default())
    }

    fn dataset(&self, text: &str, change: impl FnOnce(&mut DataOptions)) -> Result<Dataset, DataError> {
        let mut options = DataOptions::new(self.write("data.csv", text), "y");
        change(&mut options);
        Dataset::load(&options)
    }
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/data").join(name)
}

fn read(path: &Path) -> Table {
    read_table(path, &ReadOptions::default()).unwrap()
}

/// Cells as text, a missing one as `-`.
fn show(column: &Column) -> Vec<String> {
    let cell = |row: usize| match &column.cells {
        _ if column.is_missing(row) => "-".to_owned(),
        Cells::Numbers(values) => values[row].to_string(),
        Cells::Categories(categories) => categories.levels[categories.codes[row] as usize].clone(),
    };
    (0..column.len()).map(cell).collect()
}

fn assert_same_cells(a: &Table, b: &Table, what: &str) {
    for (a, b) in a.columns.iter().zip(&b.columns) {
        assert_eq!((&a.name, a.kind(), show(a)), (&b.name, b.kind(), show(b)), "{what}");
    }
    assert_eq!((a.rows, a.columns.len(), a.fingerprint()), (b.rows, b.columns.len(), b.fingerprint()), "{what}");
}

#[test]
fn csv_in_any_dress_is_the_same_table() {
    let files = Files::new();
    let plain = read(&files.write("plain.csv", ZOO));
    assert_eq!(show(&plain.columns[0]), ["1.5", "-2000", "-"]);
    assert_eq!(show(&plain.columns[1]), ["red", "-", "green"]);
    assert_eq!(show(&plain.columns[2]), ["a, b", "two\nlines", "say \"hi\""]);
    assert_eq!(show(&plain.columns[3]), ["true", "false", "true"]);

    let delimited = |delimiter: &str| ZOO.replace("a, b", "a\u{1} b").replace(',', delimiter).replace('\u{1}', ",");
    let crlf = ZOO.replace('\n', "\r\n").replace("two\r\nlines", "two\nlines");
    for (what, path) in [
        ("byte order mark", files.write("bom.csv", format!("\u{feff}{ZOO}"))),
        ("CRLF", files.write("crlf.csv", crlf)),
        ("semicolons", files.write("semicolon.csv", delimited(";"))),
        ("tabs", files.write("tabs.tsv", delimited("\t"))),
        (
            "blanks around cells",
            files.write(
                "blanks.csv",
                ZOO.replace(",red,", ", red ,").replace(",green,", ",  green,").replace("1.5", " 1.50 "),
            ),
        ),
        ("no newline at the end", files.write("torn.csv", ZOO.trim_end())),
        ("empty lines", files.write("empty_lines.csv", ZOO.replacen('\n', "\n\n", 1) + "\n\n")),
        ("gzip", files.gzip("plain.csv.gz", &[ZOO])),
        ("gzip by another name", files.gzip("plain.data", &[ZOO])),
        ("gzip in two members", files.gzip("members.csv.gz", &[&ZOO[..40], &ZOO[40..]])),
    ] {
        assert_same_cells(&plain, &read(&path), what);
    }
}

#[test]
fn quotes_change_nothing_wherever_they_begin() {
    // Lines before the first quote are read in another way than those from there on; blocks of lines end somewhere, too.
    let files = Files::new();
    let row = |i: usize, open: &str| format!("{}.{i:03},{},{open}w{}{open},{i}\n", i % 13, -(i as i64), i % 5);
    let rows = 30_000;
    let text = |quoted: &dyn Fn(usize) -> bool| {
        (0..rows).fold("a,b,c,d\n".to_owned(), |text, i| text + &row(i, if quoted(i) { "\"" } else { "" }))
    };
    let plain = read(&files.write("plain.csv", text(&|_| false)));
    for first in [0, 1, 17_000, rows - 1] {
        let quoted = text(&|i| i >= first);
        assert_same_cells(&plain, &read(&files.write("quoted.csv", &quoted)), &format!("quoted from row {first}"));
        // Places are told alike, too: row 0 is line 2.
        let cut = files.table(&(quoted.clone() + "1,2\n"));
        assert!(matches!(cut, Err(DataError::Ragged { line: 30_002, found: 2, expected: 4, .. })), "{cut:?}");
        let wide = files.table(&quoted.replacen(&format!(",{first}\n"), ",1,2,3\n", 1));
        assert!(matches!(wide, Err(DataError::Ragged { line, found: 6, .. }) if line == first as u64 + 2), "{wide:?}");
    }
    let old_mac = text(&|_| false).replace('\n', "\r");
    assert_same_cells(&plain, &read(&files.write("old_mac.csv", old_mac)), "carriage returns alone");
    let header = text(&|_| false).replacen("a,b", "\"a\",\"b\"", 1);
    assert_same_cells(&plain, &read(&files.write("header.csv", header)), "a quoted header");
}

#[test]
fn a_header_may_be_longer_than_what_is_looked_at() {
    let names: Vec<String> = (0..20_000).map(|i| format!("column_{i}")).collect();
    let values: Vec<String> = (0..20_000).map(|i| i.to_string()).collect();
    let files = Files::new();
    let table = files.table(&format!("{}\n{}\n", names.join(","), values.join(","))).unwrap();
    assert_eq!((table.columns.len(), table.rows, table.columns[19_999].name.as_str()), (20_000, 1, "column_19999"));
}

#[test]
fn parquet_is_the_same_table_as_csv() {
    let csv = read(&fixture("table.csv"));
    for name in ["table.parquet", "table_plain.parquet"] {
        assert_same_cells(&csv, &read(&fixture(name)), name);
    }
    let categories = ReadOptions { categories: vec!["code".into(), "count".into()], ..ReadOptions::default() };
    let declared = |name| read_table(&fixture(name), &categories).unwrap();
    assert_same_cells(&declared("table.csv"), &declared("table.parquet"), "declared categories");
    assert_ne!(csv.fingerprint(), declared("table.csv").fingerprint());
}

#[test]
fn a_fingerprint_tells_one_changed_cell() {
    let files = Files::new();
    let table = read(&files.write("a.csv", ZOO));
    for (old, new) in
        [("1.5", "1.5000001"), ("red", "Red"), ("NA", "0"), ("True\n-2e3", "False\n-2e3"), ("size", "Size")]
    {
        assert_ne!(table.fingerprint(), read(&files.write("b.csv", ZOO.replacen(old, new, 1))).fingerprint(), "{new}");
    }
}

#[test]
fn a_long_gzip_stream_arrives_whole() {
    // More than the queue between the two threads holds.
    let files = Files::new();
    let rows = 400_000;
    let text = (0..rows).fold("a,b\n".to_owned(), |mut text, i| {
        writeln!(text, "{i},{}", i % 7).unwrap();
        text
    });
    let table = read(&files.gzip("long.csv.gz", &[&text]));
    let Cells::Numbers(values) = &table.columns[0].cells else { panic!("numbers") };
    assert!(table.rows == rows && values.iter().enumerate().all(|(i, &value)| value == i as f64));
}

#[test]
fn a_mixed_column_is_categories_if_its_text_is_no_slip() {
    let files = Files::new();
    let doors = (0..100).fold("doors\n".to_owned(), |text, i| text + ["2", "3", "4", "5more"][i % 4] + "\n");
    let table = files.table(&doors).unwrap();
    let Cells::Categories(categories) = &table.columns[0].cells else { panic!("categories") };
    assert_eq!(categories.levels, ["2", "3", "4", "5more"]);
    assert_eq!(table.notes, [Note::MixedAsCategory { column: "doors".into(), texts: 25, rows: 100 }]);

    // Many different numbers and one word: a marker of missing cells that was not named.
    let ages = (0..100).fold("age\n".to_owned(), |text, i| match i % 4 {
        3 => text + "unknown\n",
        _ => text + &format!("{}.5\n", i),
    });
    assert!(matches!(files.table(&ages), Err(DataError::Mixed { place: Place::Line(5), texts: 25, .. })));
    let upside_down = ages.replacen("0.5", "unknown", 1);
    assert!(matches!(files.table(&upside_down), Err(DataError::Mixed { place: Place::Line(2), texts: 26, .. })));
}

#[test]
fn markers_of_missing_cells_hold_however_they_are_written() {
    let files = Files::new();
    let path = files.write("a.csv", "x,y\n-999,a\n-999.0,n/a\n3,?\n,b\n");
    let options = ReadOptions { missing: vec!["-999".into(), "n/a".into()], ..ReadOptions::default() };
    let table = read_table(&path, &options).unwrap();
    assert_eq!(show(&table.columns[0]), ["-", "-", "3", "-"]);
    assert_eq!(show(&table.columns[1]), ["a", "-", "-", "b"]);
}

#[test]
fn the_task_follows_from_the_target_unless_it_is_set() {
    let files = Files::new();
    let table = |targets: [&str; 6]| {
        (0..60).fold("x,y\n".to_owned(), |text, i| text + &format!("{}.5,{}\n", i * i % 17, targets[i % 6]))
    };
    let load = |targets, task| files.dataset(&table(targets), |options| options.task = task).unwrap();

    let text = load(["b", "a", "c", "a", "b", "c"], None);
    assert_eq!((text.task, text.class_names.join(" ")), (Task::Classification, "a b c".to_owned()));
    let Target::Classes { codes, classes: 3 } = &text.target else { panic!("three classes") };
    assert_eq!(codes[..6], [1, 0, 2, 0, 1, 2]);

    let integers = load(["10", "9", "1", "9", "10", "1"], None);
    assert_eq!((integers.task, integers.class_names.join(" ")), (Task::Classification, "1 9 10".to_owned()));
    assert!(integers.notes.contains(&Note::IntegersAsClasses { column: "y".into(), classes: 3 }));
    assert_eq!(load(["10", "9", "1", "9", "10", "1"], Some(Task::Regression)).task, Task::Regression);

    let numbers = load(["1.5", "9", "1", "9", "10", "1"], None);
    assert_eq!((numbers.task, numbers.class_names.len()), (Task::Regression, 0));
    let Target::Values(values) = &numbers.target else { panic!("numbers") };
    assert_eq!(values[..3], [1.5, 9.0, 1.0]);
    assert_eq!(load(["1.5", "9", "1", "9", "10", "1"], Some(Task::Classification)).class_names.len(), 4);

    let many_integers = (0..60).fold("x,y\n".to_owned(), |text, i| text + &format!("{}.5,{}\n", i % 7, i % 21));
    assert_eq!(files.dataset(&many_integers, |_| ()).unwrap().task, Task::Regression);
}

#[test]
fn useless_columns_are_dropped_and_odd_ones_are_named() {
    let files = Files::new();
    let mut text = "row,name,same,also,none,leak,nearly,word_leak,x,half,y\n".to_owned();
    for i in 0..100 {
        let class = usize::from(i * 7 % 100 >= 40);
        let half = if i % 2 == 0 { "1" } else { "" };
        writeln!(
            text,
            "{},n{i},7,x,,{},{},{},{},{half},{class}",
            i + 1,
            i * 7 % 100 + 1000 * (i % 2) * class,
            (i * 7 % 100).max(40),
            ["no", "yes"][class],
            i % 9
        )
        .unwrap();
    }
    let dataset = files.dataset(&text, |_| ()).unwrap();
    let kept: Vec<&str> = dataset.features.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(kept, ["row", "name", "leak", "nearly", "word_leak", "x", "half"]);
    let notes: Vec<String> = dataset.notes.iter().map(|note| note.to_string().lines().next().unwrap().into()).collect();
    assert_eq!(
        notes,
        [
            "column \"none\" is dropped: every cell is missing",
            "2 columns are dropped, each the same in every row: same, also",
            "column \"row\" looks like an id: it differs in every row",
            "column \"name\" looks like an id: it differs in every row",
            "column \"leak\" gives the target away: its value alone tells the class in every row",
            "column \"word_leak\" gives the target away: its value alone tells the class in every row",
        ]
    );

    let text = (0..100).fold("celsius,x,y\n".to_owned(), |text, i| {
        text + &format!("{},{}.5,{}\n", i as f64 * 0.37, i * i % 23, 32.0 + 1.8 * (i as f64 * 0.37))
    });
    let notes = files.dataset(&text, |_| ()).unwrap().notes;
    assert!(matches!(notes.as_slice(), [Note::LeaksTarget { column, .. }] if column == "celsius"), "{notes:?}");
}

#[test]
fn the_committed_data_sets_raise_no_false_alarm() {
    for (name, task, rows, features) in [
        ("digits.csv", Task::Classification, 1797, 61),
        ("breast_cancer.csv", Task::Classification, 569, 30),
        ("diabetes.csv", Task::Regression, 442, 10),
        ("california_housing.csv.gz", Task::Regression, 20640, 9),
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/data").join(name);
        let dataset = Dataset::load(&DataOptions::new(path, "target")).unwrap();
        assert_eq!((dataset.task, dataset.rows(), dataset.features.columns.len()), (task, rows, features), "{name}");
        assert!(!dataset.notes.iter().any(Note::is_warning), "{name}: {:?}", dataset.notes);
    }
}

#[test]
fn split_columns_and_a_second_file_are_no_features() {
    let files = Files::new();
    let rows = |range: std::ops::Range<usize>, colours: [&str; 2]| {
        range.fold("site,day,part,x,colour,y\n".to_owned(), |text, i| {
            let part = if i % 5 == 0 { "test" } else { "train" };
            text + &format!("s{},2020-01-{:02},{part},{}.5,{},{}\n", i / 10, i + 1, i % 7, colours[i % 2], i % 2)
        })
    };
    let first = rows(0..30, ["red", "blue"]);
    let dataset = files
        .dataset(&first, |options| {
            options.group = Some("site".into());
            options.time = Some("day".into());
            options.test_column = Some("part".into());
        })
        .unwrap();
    let features: Vec<&str> = dataset.features.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(features, ["x", "colour"]);
    assert_eq!(dataset.test_rows.as_deref(), Some(&[0, 5, 10, 15, 20, 25][..]));
    assert_eq!(show(dataset.group.as_ref().unwrap())[29], "s2");
    let Cells::Categories(days) = &dataset.time.unwrap().cells else { panic!("text") };
    assert!(days.codes.is_sorted(), "text is ordered by its codes");

    let second = files.write("test.csv", rows(0..10, ["green", "blue"]));
    let both = files.dataset(&first, |options| options.test_file = Some(second)).unwrap();
    assert_eq!(both.test_rows, Some((30..40).collect()));
    let colours = show(both.features.column("colour").unwrap());
    assert_eq!((colours[0].as_str(), colours[1].as_str()), ("red", "blue"));
    assert_eq!((colours[30].as_str(), colours[31].as_str()), ("green", "blue"));
    let Cells::Categories(categories) = &both.features.column("colour").unwrap().cells else { panic!("text") };
    assert_eq!(categories.levels, ["blue", "green", "red"]);
    assert!(!categories.codes.contains(&MISSING));
}

#[test]
fn damaged_files_are_errors_or_tables_but_never_panics() {
    let files = Files::new();
    for name in ["table.parquet", "table_plain.parquet", "table.csv"] {
        let whole = std::fs::read(fixture(name)).unwrap();
        for at in (0..whole.len()).step_by(23) {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at % 8);
            let _ = read_table(&files.write("damaged", &bytes), &ReadOptions::default());
            let _ = read_table(&files.write("cut", &whole[..at]), &ReadOptions::default());
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(text in "[a1.,;\t\"\r\n -]{0,60}", bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let files = Files::new();
        for content in [text.as_bytes(), &bytes] {
            if let Ok(table) = read_table(&files.write("any.csv", content), &ReadOptions::default()) {
                prop_assert!(table.rows > 0 && table.columns.iter().all(|column| column.len() == table.rows));
            }
        }
    }
}

/// Every error of reading and telling apart, as the user sees it.
#[test]
fn bad_data_is_named_with_its_place_and_its_remedy() {
    let files = Files::new();
    let folder = files.0.path().display().to_string();
    let mut seen = String::new();
    let mut show = |case: &str, result: Result<String, DataError>| {
        let error = result.map(|ok| panic!("{case}: no error, but {ok}")).unwrap_err();
        writeln!(seen, "# {case}\n{}\n", error.to_string().replace(&folder, "data")).unwrap();
    };
    let table =
        |text: &[u8]| read_table(&files.write("data.csv", text), &ReadOptions::default()).map(|t| format!("{t:?}"));
    let options = |text: &str, change: fn(&mut DataOptions)| files.dataset(text, change).map(|d| format!("{d:?}"));
    let plain = |text: &str| options(text, |_| ());
    let numbered = |header: &str, row: &dyn Fn(usize) -> String| {
        (0..1797).fold(header.to_owned() + "\n", |text, i| text + &row(i) + "\n")
    };

    table(b"a,b\n1,2\n").unwrap();
    show("missing file", read_table(&files.0.path().join("date.csv"), &ReadOptions::default()).map(|_| String::new()));
    show("empty file", table(b""));
    show("blank file", table(b"\n\n"));
    show("header only", table(b"a,b\n"));
    show("no header", table(b"1,2\n3,4\n"));
    show("two columns of one name", table(b"a,b,a\n1,2,3\n"));
    show("ragged row", table(b"a,b\n1,2\n1,\"x\ny\"\n1\n"));
    show("semicolons in a ragged file", table(b"a;b;c\n1;2;3\n1;2\n"));
    show("an open quote", table(b"a,b\n1,\"2\n3,4\n5,6\n"));
    show("not UTF-8", table(b"a,b\n1,x\n2,caf\xe9\n"));
    show("UTF-16", table(b"\xff\xfea\0,\0b\0\n\0"));
    show("cut gzip", {
        let whole = std::fs::read(files.gzip("whole.csv.gz", &[&ZOO.repeat(50)])).unwrap();
        read_table(&files.write("cut.csv.gz", &whole[..whole.len() / 2]), &ReadOptions::default())
            .map(|_| String::new())
    });
    show("broken Parquet", {
        let whole = std::fs::read(fixture("table.parquet")).unwrap();
        read_table(&files.write("cut.parquet", &whole[..whole.len() / 2]), &ReadOptions::default())
            .map(|_| String::new())
    });
    let word =
        numbered("pixel_4,y", &|i| format!("{},{}", if i % 90 == 89 { "n/a".into() } else { i.to_string() }, i % 2));
    show("text among numbers", plain(&word));
    let words =
        numbered("pixel_4,y", &|i| format!("{},{}", if i % 90 == 0 { format!("w{i}") } else { i.to_string() }, i % 2));
    show("several texts among numbers", plain(&words));
    show("infinite", plain("x,y\n1,a\n-inf,b\n1e999,a\n"));

    show("target absent", options("size,tarjet\n1,2\n", |options| options.target = "target".into()));
    show("column to drop absent", options("size,y\n1,2\n", |options| options.drop = vec!["sizes".into()]));
    show("target missing", plain("x,y\n1,a\n2,\n3,b\n"));
    show("target constant", plain("x,y\n1,a\n2,a\n"));
    show("regression on text", options("x,y\n1,a\n2,b\n", |options| options.task = Some(Task::Regression)));
    show("a class a row", plain("x,y\n1,a\n2,b\n3,c\n"));
    show("target beyond f32", options("x,y\n1,2.5\n2,1e39\n", |options| options.task = Some(Task::Regression)));
    show(
        "10^5 categories",
        plain(&(0..=100_000).fold("x,y\n".to_owned(), |text, i| text + &format!("w{i},{}\n", i % 2))),
    );
    show("no feature left", plain("x,z,y\n1,,a\n1,,b\n"));
    show("no other column", plain("y\na\nb\n"));
    show("two parts for one column", options("x,y\n1,2\n", |options| options.group = Some("y".into())));
    show(
        "test rows chosen twice",
        options("x,y\n1,2\n", |options| {
            options.test = Some(0.2);
            options.test_column = Some("x".into());
        }),
    );
    show("group missing", options("x,g,y\n1,a,1\n2,,2\n", |options| options.group = Some("g".into())));
    for weight in ["-1", "w", ""] {
        let csv = format!("x,w,y\n1,1,1\n2,{weight},2\n");
        show(&format!("weight \"{weight}\""), options(&csv, |options| options.weight = Some("w".into())));
    }
    show(
        "unknown test mark",
        options("x,t,y\n1,test,1\n2,maybe,2\n", |options| options.test_column = Some("t".into())),
    );
    let second = files.write("second.csv", "x\n1\n");
    show(
        "second file lacks columns",
        files.dataset("x,z,y\n1,2,3\n", |o| o.test_file = Some(second)).map(|_| String::new()),
    );
    insta::assert_snapshot!("data_errors", seen);
}
