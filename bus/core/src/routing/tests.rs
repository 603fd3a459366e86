//! The table of what is accepted and what is refused, and where the finger points.

use super::error::ProblemKind;
use super::*;
use std::io;

pub(super) const HEADER: &str = "backplane_name,ip_address,subscriber_port,subscriber_topic,publisher_port\n";

pub(super) fn parse(text: impl AsRef<[u8]>) -> Result<RoutingSpec, RoutingError> {
    RoutingSpec::parse(text, "spec.csv")
}

/// The one route of a file with one row.
fn row(row: &str) -> Route {
    parse(format!("{HEADER}{row}")).unwrap_or_else(|error| panic!("{row:?}: {error}")).routes()[0].clone()
}

fn topics(cell: &str) -> Vec<String> {
    row(&format!("BP1,10.0.0.1,43125,{cell},43124")).topics
}

/// The first problem: line, column, the text under the finger, and the message.
fn refused(text: impl AsRef<[u8]>) -> (usize, usize, String, String) {
    let error = parse(&text).expect_err("should be refused");
    let (Some(line), Some(column), Some(span)) = (error.line(), error.column(), error.span()) else {
        panic!("no place: {error}");
    };
    let message = error.to_string();
    assert!(message.starts_with(&format!("spec.csv:{line}:{column}: ")), "{message}");
    assert!(!message.contains('\n') && message.contains("; "), "{message}");
    (line, column, error.text()[span].to_owned(), message)
}

/// A row of line 2 that is refused at `column`, with the finger on `under`, in words that contain all of `words`.
#[track_caller]
fn refuse_row(row: &str, column: usize, under: &str, words: &[&str]) {
    refuse(&format!("{HEADER}{row}\n"), (2, column), under, words);
}

#[track_caller]
fn refuse(text: &str, place: (usize, usize), under: &str, words: &[&str]) {
    let (line, column, found, message) = refused(text);
    assert_eq!((line, column, found.as_str()), (place.0, place.1, under), "{message}");
    for word in words {
        assert!(message.contains(word), "{message:?} does not say {word:?}");
    }
}

#[test]
fn the_guides_sample_means_what_it_means_to_python() {
    let spec = parse(
        "backplane_name,ip_address,subscriber_port,subscriber_topic,publisher_port\n\
         BP1,192.168.2.194,43127,\"[reply]\",43126\n\
         BP2,192.168.2.194,43125,\"[reply]\",43124\n\
         BP3,192.168.2.177,43125,\"[]\",43124\n\
         BP4,192.168.2.199,43125,\"[run_motors,light_leds]\",\n\
         BP5,192.168.2.133,,\"[run_motors,light_leds]\",43124\n",
    )
    .unwrap();
    let expected = [
        Route::new("BP1", "192.168.2.194").subscriber_port(43127).topics(["reply"]).publisher_port(43126),
        Route::new("BP2", "192.168.2.194").subscriber_port(43125).topics(["reply"]).publisher_port(43124),
        Route::new("BP3", "192.168.2.177").subscriber_port(43125).topics([""]).publisher_port(43124),
        Route::new("BP4", "192.168.2.199").subscriber_port(43125).topics(["run_motors", "light_leds"]),
        Route::new("BP5", "192.168.2.133").topics(["run_motors", "light_leds"]).publisher_port(43124),
    ];
    assert_eq!(spec.routes(), expected);
    assert_eq!(spec.get("BP4").map(|route| &route.name), Some(&"BP4".to_owned()));
    assert_eq!(spec.get("BP6"), None);
    let everything: Vec<bool> = spec.routes().iter().map(Route::subscribes_to_everything).collect();
    assert_eq!(everything, [false, false, true, false, false]);
    assert!(!Route::new("BP5", "h").topics([""]).subscribes_to_everything(), "without a port: nothing");
    assert_eq!(spec.routes()[4].subscriber_endpoint(), None);
    assert_eq!(spec.routes()[3].publisher_endpoint(), None);
    assert_eq!(spec.routes()[0].publisher_endpoint().as_deref(), Some("tcp://192.168.2.194:43126"));
}

#[test]
fn topic_lists() {
    assert_eq!(topics("\"[x,y]\""), ["x", "y"]);
    assert_eq!(topics("\"[]\""), [""], "one empty topic: everything");
    assert_eq!(topics("\"[x,]\""), ["x", ""]);
    assert_eq!(topics("\"[,]\""), ["", ""]);
    assert_eq!(topics("[x]"), ["x"], "a single one needs no quotes");
}

#[test]
fn quotes_as_pythons_csv_module_takes_them() {
    assert_eq!(row("\"BP1\",\"10.0.0.1\",\"1\",\"[x]\",\"2\""), row("BP1,10.0.0.1,1,[x],2"));
    assert_eq!(row("\"a\"\"b\",h,,,2").name, "a\"b", "doubled inside quotes");
    assert_eq!(row("a\"b,h,,,2").name, "a\"b", "literal in the middle");
    assert_eq!(row("\"a\"b,h,,,2").name, "ab", "text behind the closing quote belongs to the cell");
    assert_eq!(row("\"a\"b\"c,h,,,2").name, "ab\"c", "and a quote in it is literal");
    assert_eq!(row("\"a,b\",h,,,2").name, "a,b");
}

#[test]
fn columns_go_by_name_and_rows_may_end_early() {
    let spec =
        parse("publisher_port,subscriber_topic,ip_address,backplane_name,subscriber_port\n2,[x],h,BP1,1\n");
    assert_eq!(spec.unwrap().routes()[0], row("BP1,h,1,[x],2"));
    assert_eq!(row("BP1,h,1,[x]"), row("BP1,h,1,[x],"), "cut before publisher_port: publishes nothing");
    assert_eq!(row("BP1,h,,,2"), Route::new("BP1", "h").publisher_port(2));
    assert_eq!(row("BP1,h,,\"]'never looked at\",2").topics.len(), 0, "ignored without a subscriber_port");
}

#[test]
fn blank_lines_and_any_line_ends_are_fine() {
    let expected = parse(format!("{HEADER}BP1,h,1,[x],2\nBP2,h,,,3\n")).unwrap();
    for ends in ["\n", "\r\n", "\r", "\n\n", "\r\n\r\n"] {
        let text = format!("{HEADER}\nBP1,h,1,[x],2\nBP2,h,,,3").replace('\n', ends);
        assert_eq!(parse(&text), Ok(expected.clone()), "{text:?}");
        assert_eq!(parse(format!("{text}{ends}")), Ok(expected.clone()));
    }
    for (ends, line) in [("\r\n", 3), ("\r", 3), ("\n\n", 5), ("\r\r\n", 5)] {
        let text = format!("{HEADER}BP1,h,1,[x],2\nBP2,h,,,zero").replace('\n', ends);
        refuse(&text, (line, 9), "z", &["publisher_port \"zero\""]);
    }
}

#[test]
fn hosts() {
    let long = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61)].join(".");
    for host in
        ["127.0.0.1", "localhost", "robot.local", "a-b.c1", "1and1.example", "my_service", "::1", &long]
    {
        assert_eq!(row(&format!("BP1,{host},,,2")).host, host);
    }
    assert_eq!(row("BP1,[fe80::1%eth0],,,2").host, "fe80::1%eth0");
    assert_eq!(row("BP1,[::1],1,[x],").subscriber_endpoint().as_deref(), Some("tcp://[::1]:1"));
    assert_eq!(Route::new("", "[::1]").endpoint(5), "tcp://[::1]:5");
    assert_eq!(Route::new("", "h").endpoint(5), "tcp://h:5");

    refuse_row("BP1,exa mple,,,2", 8, " ", &["\"exa mple\" is not an IP address or a host name", "blanks"]);
    refuse_row("BP1, 10.0.0.1,,,2", 5, " ", &["\" 10.0.0.1\""]);
    for host in
        ["111.222.333.444", "10.0.0", "10", "-a", "a-", "a..b", "a.", "[::1", "::1]", "[10.0.0.1]", "1:2"]
    {
        refuse_row(&format!("BP1,{host},,,2"), 5, host, &["is not an IP address", "192.168.2.194"]);
    }
    for host in ["[::1%]".to_owned(), format!("{}.de", "a".repeat(64)), format!("{long}x")] {
        refuse_row(&format!("BP1,{host},,,2"), 5, &host, &["is not an IP address"]);
    }
    refuse_row("BP1,tcp://h,,,2", 9, "/", &["without tcp://"]);
    refuse_row("BP1,*,,,2", 5, "*", &["\"*\""]);
    refuse_row("BP1,,,,2", 5, "", &["the address is empty", "127.0.0.1"]);
}

#[test]
fn headers_that_are_refused() {
    let columns = "backplane_name,ip_address,subscriber_port,subscriber_topic,publisher_port";
    refuse("", (1, 1), "", &["the header is missing", columns]);
    refuse("\n", (1, 1), "", &["the header is missing"]);
    refuse(&format!("\n{HEADER}BP1,h,,,2\n"), (1, 1), "", &["the first line must be", columns]);
    refuse("BP1,h,1,[x],2\n", (1, 1), "BP1,h,1,[x],2", &["the header is missing", columns]);
    refuse("name;ip\n", (1, 1), "name;ip", &["the header is missing", columns]);
    refuse(&format!("\u{feff}{HEADER}BP1,h,,,2\n"), (1, 1), "\u{feff}", &["byte order mark", "without BOM"]);
    refuse("backplane_name,ip_address,port\n", (1, 27), "port", &["unknown column \"port\"", columns]);
    refuse(
        "backplane_name, ip_address\n",
        (1, 16),
        " ip_address",
        &["unknown column \" ip_address\"", "blanks"],
    );
    refuse("Backplane_Name,ip_address\n", (1, 1), "Backplane_Name", &["unknown column"]);
    let twice = "ip_address,backplane_name,ip_address\n";
    refuse(twice, (1, 27), "ip_address", &["column ip_address appears twice", "remove one"]);
    let short = HEADER.replace(",publisher_port", "");
    refuse(&short, (1, 59), "", &["column publisher_port is missing"]);
    refuse(&HEADER.replace("backplane_name,", ""), (1, 59), "", &["column backplane_name is missing"]);
    refuse("\"backplane_name,ip_address\n", (1, 1), "\"", &["a quote is opened here"]);
    refuse(HEADER, (2, 1), "", &["there is no backplane", "add a row such as BP1,"]);
    refuse(&format!("{HEADER}\r\n\n"), (4, 1), "", &["there is no backplane"]);
}

#[test]
fn the_row_that_the_no_backplane_message_suggests_is_accepted() {
    let message = parse(HEADER).unwrap_err().to_string();
    let suggested = message.split("such as ").nth(1).unwrap();
    assert_eq!(row(suggested).topics, ["echo"]);
}

#[test]
fn rows_of_the_wrong_length() {
    refuse_row("BP1", 4, "", &["the row ends before its ip_address", "its comma may not"]);
    refuse_row("BP1,h", 6, "", &["before its subscriber_port"]);
    refuse_row("BP1,h,1", 8, "", &["before its subscriber_topic"]);
    refuse_row(" ", 2, "", &["before its ip_address"]);
    refuse_row("BP1,h,1,[x],2,", 15, "", &["the row has 6 cells, not 5", "\"[x,y]\""]);
    refuse_row("BP1,h,1,[x],2,a,b", 15, "a,b", &["the row has 7 cells, not 5"]);
    refuse_row("BP1,h,1,[x,y],2", 9, "[x,y]", &["a list with commas needs quotes", "\"[x,y]\""]);
    refuse_row("BP1,h,1,[x,y]", 9, "[x,y]", &["a list with commas needs quotes"]);
    refuse_row("BP1,h,1,[x,y,z]", 9, "[x,y,z]", &["a list with commas needs quotes"]);
    refuse_row(
        "BP1,h,1, \"[x,y]\",2",
        9,
        " \"[x,y]\"",
        &["a list with commas needs quotes", "between the commas"],
    );
    refuse_row("BP1,h,,,", 1, "BP1,h,,,", &["neither subscriber_port nor publisher_port", "set one"]);
    refuse_row("BP1,h,,[x]", 1, "BP1,h,,[x]", &["neither subscriber_port nor publisher_port"]);
    // The columns in another order: told by the first of the file's order that the row does not reach.
    refuse(
        "publisher_port,ip_address,subscriber_topic,subscriber_port,backplane_name\n2,h\n",
        (2, 4),
        "",
        &["before its subscriber_topic"],
    );
}

#[test]
fn names() {
    refuse_row(",h,,,2", 1, "", &["the backplane has no name", "unique"]);
    refuse_row(" BP1,h,,,2", 1, " ", &["backplane name \" BP1\"", "remove it"]);
    refuse_row("BP1\u{a0},h,,,2", 4, "\u{a0}", &["backplane name"]);
    refuse_row("BP\u{7}1,h,,,2", 3, "\u{7}", &["backplane name \"BP\\u{7}1\" has a control character"]);
    let at_limit = "n".repeat(MAX_NAME_BYTES);
    assert_eq!(row(&format!("{at_limit},h,,,2")).name, at_limit);
    refuse_row(
        &format!("{at_limit}n,h,,,2"),
        1,
        &format!("{at_limit}n"),
        &["name has 256 bytes", "at most 255"],
    );
    let twice = format!("{HEADER}BP1,h,,,2\nBP2,h,,,3\nBP1,h,,,4\n");
    refuse(&twice, (4, 1), "BP1", &["backplane name \"BP1\" is used twice", "rename one"]);
    assert_eq!(parse(format!("{HEADER}BP1,h,,,2\nbp1,h,,,3\n")).unwrap().routes().len(), 2, "case matters");
}

#[test]
fn ports() {
    assert_eq!(row("BP1,h,1,[x],65535").publisher_port, Some(65535));
    for port in ["0", "65536", "99999999999999999999"] {
        let words = [&format!("publisher_port \"{port}\" is not a port"), "a number from 1 to 65535"];
        refuse_row(&format!("BP1,h,,,{port}"), 9, port, &words);
        refuse_row(
            &format!("BP1,h,{port},[x],2"),
            7,
            port,
            &[&format!("subscriber_port \"{port}\" is not a port")],
        );
    }
    refuse_row("BP1,h, 1,[x],2", 7, " ", &["subscriber_port \" 1\"", "without blanks"]);
    refuse_row("BP1,h,1,[x], 2", 13, " ", &["publisher_port \" 2\""]);
    refuse_row("BP1,h,4312x,[x],2", 11, "x", &["subscriber_port \"4312x\""]);
    refuse_row("BP1,h,+1,[x],2", 7, "+", &["subscriber_port \"+1\""]);
    refuse_row("BP1,h,-1,[x],2", 7, "-", &["subscriber_port \"-1\""]);
    refuse_row("BP1,h,,,\"4\"\"3\"", 12, "\"", &["publisher_port \"4\\\"3\""]);
    refuse_row("BP1,h,1,[x],y]", 13, "y", &["publisher_port \"y]\""]);
}

#[test]
fn topic_lists_that_are_refused() {
    refuse_row(
        "BP1,h,1,,2",
        9,
        "",
        &["subscriber_port is set but subscriber_topic is empty", "\"[]\" for everything"],
    );
    refuse_row("BP1,h,1,x,2", 9, "x", &["topics \"x\" do not begin with \"[\"", "\"[x,y]\""]);
    refuse_row("BP1,h,1,\"x,y]\",2", 10, "x", &["do not begin with"]);
    refuse_row("BP1,h,1,\"[x,y\",2", 13, "y", &["and end with \"]\""]);
    refuse_row("BP1,h,1,[,2", 9, "[", &["and end with \"]\""]);
    refuse_row("BP1,h,1,],2", 9, "]", &["do not begin with"]);
    refuse_row("BP1,h,1,\"]x[\",2", 10, "]", &["do not begin with"]);
    refuse_row("BP1,h,1,\"a[x]b\",2", 10, "a", &["do not begin with"]);
    refuse_row("BP1,h,1,\"äöü\",2", 10, "ä", &["do not begin with"]);
    refuse_row("BP1,h,1,\"[äöü\",2", 13, "ü", &["end with"]);

    refuse_row("BP1,h,1,\"[x, y]\",2", 13, " ", &["' ' among the topics", "remove it"]);
    refuse_row("BP1,h,1,\"[ü, y]\",2", 13, " ", &["' ' among the topics"]);
    refuse_row("BP1,h,1,\" [x]\",2", 10, " ", &["' ' among the topics"]);
    refuse_row("BP1,h,1,\"[x] \",2", 13, " ", &["' ' among the topics"]);
    refuse_row("BP1,h,1,[\t],2", 10, "\t", &["'\\t' among the topics"]);
    refuse_row("BP1,h,1,\"[a,\u{1b}[2J]\",2", 13, "\u{1b}", &["'\\u{1b}' among the topics"]);
    refuse_row("BP1,h,1,\"['x','y']\",2", 11, "'", &["a quote (') among the topics", "\"[x,y]\""]);
    refuse_row("BP1,h,1,\"[x,\"\"y\"\"]\",2", 14, "\"", &["a quote (\") among the topics"]);
    refuse_row("BP1,h,1,[a\"],2", 11, "\"", &["a quote (\")"]);

    let at_limit = "t".repeat(1024);
    assert_eq!(topics(&format!("\"[x,{at_limit}]\"")), ["x", at_limit.as_str()]);
    let too_long = format!("{at_limit}t");
    refuse_row(
        &format!("BP1,h,1,\"[x,{too_long}]\",2"),
        13,
        &too_long,
        &["a topic of 1025 bytes", "at most 1024"],
    );
}

#[test]
fn an_open_quote_is_told_where_it_opens_and_spoils_its_own_line_only() {
    let error = parse(format!("{HEADER}BP1,h,1,\"[x],2\nBP2,h,0,\"[y]\",3\nBP3,h,1,\"[z]")).unwrap_err();
    let places: Vec<_> = error.problems().iter().map(|p| p.place.as_ref().unwrap()).collect();
    let places: Vec<_> = places.iter().map(|p| (p.line, p.column, &error.text()[p.span.clone()])).collect();
    assert_eq!(places, [(2, 9, "\""), (3, 7, "0"), (4, 9, "\"")]);
    assert!(error.to_string().ends_with("as in \"[x,y]\" (and 2 more problems)"), "{error}");
    assert!(error.to_string().contains("a quote is opened here and not closed on this line"));
    assert_eq!(format!("{error:?}"), format!("RoutingError({error})"), "what a main that returns it prints");
}

#[test]
fn bytes_that_are_not_utf8() {
    let mut bytes = HEADER.as_bytes().to_vec();
    bytes.extend(b"B\xc3\xbc\xff\xfe1,h,,,2\nBP2,\x80,,,2");
    let (line, column, under, message) = refused(&bytes);
    assert_eq!((line, column, under.as_str()), (2, 3, "\u{fffd}"), "columns count characters");
    assert!(message.contains("byte 0xff is not UTF-8; save the file as UTF-8"), "{message}");
    assert_eq!(refused(b"\xff\xfeb\0a\0").0, 1, "UTF-16");
}

#[test]
fn garbage_makes_twenty_messages_and_no_more() {
    let error = parse(format!("{HEADER}{}", "x\n".repeat(1000))).unwrap_err();
    assert_eq!(error.problems().len(), 20);
    assert_eq!(error.problems()[19].place.as_ref().unwrap().line, 21);
    assert!(error.to_string().ends_with("(and 19 more problems)"));
    // Without an early end this would take hours: each place is found by reading from the top.
    let error = parse(format!("{HEADER}{}", "\"\n".repeat(500_000))).unwrap_err();
    assert_eq!(error.problems().len(), 20);
    let two = parse(format!("{HEADER}x\nx\n")).unwrap_err().to_string();
    assert!(two.ends_with("(and 1 more problem)"), "{two}");
    assert!(!parse(format!("{HEADER}x\n")).unwrap_err().to_string().contains("more"));
}

#[test]
fn what_a_message_quotes_is_cut_and_escaped() {
    let error = parse(format!("{HEADER}BP1,{},,,2\n", "\u{1b}".repeat(100_000))).unwrap_err().to_string();
    assert!(error.len() < 500 && error.contains("...") && !error.contains('\u{1b}'), "{error}");
    let error = RoutingSpec::parse("", "a\nb\u{1b}").unwrap_err().to_string();
    assert!(error.starts_with("a?b?:1:1: "), "{error:?}");
}

#[test]
fn limits() {
    let rows = |n: usize| (0..n).map(|i| format!("BP{i},h,,,2\n")).collect::<String>();
    assert_eq!(parse(format!("{HEADER}{}", rows(1024))).unwrap().routes().len(), 1024);
    refuse(
        &format!("{HEADER}{}", rows(1025)),
        (1026, 1),
        "BP1024,h,,,2",
        &["more than 1024 backplanes", "divide the component"],
    );

    let padded = |bytes: usize| format!("{HEADER}BP1,h,,,2\n{}", "\n".repeat(bytes - HEADER.len() - 10));
    assert!(parse(padded(MAX_FILE_BYTES)).is_ok());
    let error = parse(padded(MAX_FILE_BYTES + 1)).unwrap_err();
    assert_eq!(error.line(), None);
    assert!(error.to_string().starts_with("spec.csv: larger than 1048576 bytes"), "{error}");
}

#[test]
fn files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spec.csv");
    let message = |path: &Path| RoutingSpec::from_path(path).unwrap_err().to_string();

    let expected = format!("{}: no such file; check the path", path.display());
    assert!(message(&path).starts_with(&expected), "{}", message(&path));
    let expected = format!("{}: this is a directory, not a file; name the CSV file", folder.path().display());
    assert!(message(folder.path()).starts_with(&expected), "{}", message(folder.path()));

    std::fs::write(&path, format!("{HEADER}BP1,h,,,2\n")).unwrap();
    assert_eq!(RoutingSpec::from_path(&path).unwrap().routes(), [Route::new("BP1", "h").publisher_port(2)]);
    std::fs::write(&path, format!("{HEADER}BP1,h,,,0\n")).unwrap();
    assert!(message(&path).starts_with(&format!("{}:2:9: publisher_port \"0\"", path.display())));
    std::fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
    assert!(message(&path).contains("larger than 1048576 bytes"), "and only the first of a terabyte is read");
}

#[test]
fn reasons_why_a_file_cannot_be_read() {
    let kind = |kind: io::ErrorKind| parse::unreadable(&io::Error::from(kind));
    assert_eq!(kind(io::ErrorKind::PermissionDenied), ProblemKind::NoPermission);
    assert_eq!(kind(io::ErrorKind::NotFound), ProblemKind::NotFound);
    assert_eq!(kind(io::ErrorKind::IsADirectory), ProblemKind::IsDirectory);
    assert!(matches!(kind(io::ErrorKind::TimedOut), ProblemKind::Unreadable { .. }));
}

#[test]
fn a_builder_takes_a_subscriber_port_whose_topics_come_at_run_time() {
    let spec = RoutingSpec::builder().backplane(Route::new("BP1", "h").subscriber_port(1)).build().unwrap();
    assert!(spec.routes()[0].topics.is_empty());
    assert!(spec.to_string().contains(",none,"), "{spec}");
    assert_eq!(parse(spec.to_string()), Ok(spec));
}

#[test]
fn a_builder_refuses_what_a_file_would_and_names_the_backplane() {
    let good = || Route::new("BP1", "h").subscriber_port(1).topics(["x"]);
    let refuse = |route: Route, words: &[&str]| {
        let error = RoutingSpec::builder().backplane(route).build().unwrap_err();
        assert_eq!((error.line(), error.column(), error.span(), error.text()), (None, None, None, ""));
        let message = error.to_string();
        assert!(message.starts_with("routing builder: "), "{message}");
        words.iter().for_each(|word| assert!(message.contains(word), "{message:?} does not say {word:?}"));
    };
    refuse(Route { name: String::new(), ..good() }, &["no name"]);
    refuse(Route { name: "a\nb".into(), ..good() }, &["backplane \"a\\nb\": ", "control character"]);
    refuse(Route { host: "1.2.3.444".into(), ..good() }, &["backplane \"BP1\": \"1.2.3.444\" is not"]);
    refuse(good().subscriber_port(0), &["subscriber_port \"0\""]);
    refuse(good().publisher_port(0), &["publisher_port \"0\""]);
    refuse(good().topics(["a,b"]), &["a comma in the topic \"a,b\"", "at run time"]);
    refuse(good().topics(["a b"]), &["' ' among the topics"]);
    refuse(good().topics(["'a"]), &["a quote"]);
    refuse(good().topics(["t".repeat(1025)]), &["1025 bytes"]);
    refuse(Route::new("BP1", "h"), &["neither subscriber_port nor publisher_port"]);
    refuse(good().topics(vec!["t".repeat(1023); 1025]), &["larger than 1048576 bytes"]);

    let none = RoutingSpec::builder().build().unwrap_err().to_string();
    assert!(none.starts_with("routing builder: there is no backplane; "), "{none}");
    let twice = RoutingSpec::builder().backplane(good()).backplane(good()).build().unwrap_err().to_string();
    assert!(twice.contains("\"BP1\" is used twice"), "{twice}");
    let many = (0..1025).fold(RoutingSpec::builder(), |builder, i| {
        builder.backplane(Route { name: i.to_string(), ..good() })
    });
    assert!(many.build().unwrap_err().to_string().contains("more than 1024 backplanes"));
    let bad = (0..25).fold(RoutingSpec::builder(), |builder, _| builder.backplane(Route::new("", "h")));
    assert_eq!(bad.build().unwrap_err().problems().len(), 20);
    let bracketed =
        RoutingSpec::builder().backplane(Route { host: "[::1]".into(), ..good() }).build().unwrap();
    assert_eq!(bracketed.routes()[0].host, "::1", "as a file would");
}

#[test]
fn what_is_written_is_what_the_guide_shows() {
    let spec = RoutingSpec::builder()
        .backplane(
            Route::new("BP4", "192.168.2.199").subscriber_port(43125).topics(["run_motors", "light_leds"]),
        )
        .backplane(Route::new("a,\"b\"", "::1").publisher_port(43124))
        .build()
        .unwrap();
    let rows = "BP4,192.168.2.199,43125,\"[run_motors,light_leds]\",\n\"a,\"\"b\"\"\",::1,,,43124\n";
    assert_eq!(spec.to_string(), format!("{HEADER}{rows}"));
}

/// The warnings about a file's rows.
fn lint(rows: &str) -> Vec<String> {
    parse(format!("{HEADER}{rows}")).unwrap().lint().iter().map(ToString::to_string).collect()
}

#[track_caller]
fn warns(rows: &str, expected: &[&[&str]]) {
    let warnings = lint(rows);
    assert_eq!(warnings.len(), expected.len(), "{warnings:#?}");
    for (warning, words) in warnings.iter().zip(expected) {
        words.iter().for_each(|word| assert!(warning.contains(word), "{warning:?} does not say {word:?}"));
    }
}

#[test]
fn warnings() {
    warns("BP1,h,1,\"[x,y]\",2\n", &[]);
    warns("BP1,h,1,\"[]\",2\n", &[&["BP1: subscribes to everything", "leave subscriber_port empty"]]);
    warns("BP1,h,1,\"[x,]\",2\n", &[&["BP1: subscribes to everything"]]);
    warns("BP1,h,,\"[x]\",2\n", &[&["BP1: its topics are ignored", "no subscriber_port"]]);
    warns("BP1,h,,\"[]\",2\n", &[]);
    warns("BP1,h,,,2\n", &[]);
    warns(
        "BP1,h,1,\"[ab,b,abcd,a,aa,abc]\",2\n",
        &[
            &["\"aa\" begins with \"a\","],
            &["\"ab\" begins with \"a\","],
            &["\"abc\" begins with \"ab\","],
            &["\"abcd\" begins with \"abc\","],
        ],
    );
    warns("BP1,h,1,\"[x,y,x]\",2\n", &[&["topic \"x\" is asked for twice"]]);
    warns("BP1,h,1,\"[a]\",2\nBP2,h,3,\"[ab]\",4\n", &[]);
    warns(
        "BP1,h,1,\"[x]\",2\nBP2,h,2,\"[x]\",1\nBP3,H,1,\"[y]\",2\n",
        &[
            &["BP3: subscribes to the same tcp://H:1 as \"BP1\"", "comes twice"],
            &["BP3: publishes into the same tcp://H:2 as \"BP1\"", "twice"],
        ],
    );
    for (length, warnings) in [(245, 0), (246, 1), (255, 1), (256, 0)] {
        let topic = "t".repeat(length);
        assert_eq!(lint(&format!("BP1,h,1,\"[{topic}]\",2\n")).len(), warnings, "{length}");
        assert_eq!(lint(&format!("BP1,h,1,\"[x,{topic}]\",2\n")).len(), warnings, "{length}");
    }
    warns(
        &format!("BP1,h,1,\"[{}]\",2\n", "t".repeat(250)),
        &[&["has 250 bytes", "libzmq 4.3.4", "Multiplane avoids it", "up to 245"]],
    );
}
