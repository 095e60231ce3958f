//! Options of a `time_based` rule.

use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;

use crate::config::model::TimeWindow;
use crate::config::reader::{Entry, Reader};
use crate::config::tables::values::given;

const DAYS: &[(&str, Weekday)] = &[
    ("monday", Weekday::Monday),
    ("tuesday", Weekday::Tuesday),
    ("wednesday", Weekday::Wednesday),
    ("thursday", Weekday::Thursday),
    ("friday", Weekday::Friday),
    ("saturday", Weekday::Saturday),
    ("sunday", Weekday::Sunday),
];

/// Minutes since midnight that are the end of the day.
const MIDNIGHT: u16 = 24 * 60;

/// Reads them. `None` after reporting what is wrong.
pub(crate) fn read(reader: &Reader<'_>) -> Option<TimeWindow> {
    let allow_inside = reader.flag("allow_during_window", true);
    let timezone = match reader.get("timezone") {
        None => Some(TimeZone::UTC),
        Some(entry) => timezone(&entry),
    };
    let keys = [
        "start_time",
        "end_time",
        "days_of_week",
        "start_date",
        "end_date",
    ];
    if !keys.iter().any(|key| reader.has(key)) {
        reader.missing(
            "start_time",
            "with end_time; or days_of_week, start_date or end_date",
        );
        return None;
    }
    let times = times(reader);
    let days = reader.get("days_of_week").map(|entry| {
        let days = entry.one_or_more().into_iter();
        days.filter_map(|(text, item)| {
            let lower = text.to_ascii_lowercase();
            let day = DAYS.iter().find(|(name, _)| *name == lower);
            if day.is_none() {
                let known: Vec<&str> = DAYS.iter().map(|(name, _)| *name).collect();
                item.unknown("day", &text, &known);
            }
            day.map(|(_, day)| *day)
        })
        .collect()
    });
    let first_day = reader.get("start_date").map(|entry| date(&entry));
    let last_day = reader.get("end_date").map(|entry| date(&entry));
    if let (Some(Some(first)), Some(Some(last))) = (first_day, last_day)
        && first > last
    {
        reader.error("start_date lies after end_date", "exchange them");
    }
    Some(TimeWindow {
        allow_inside,
        timezone: timezone?,
        times: times?,
        days: days.unwrap_or_default(),
        first_day: given(first_day)?,
        last_day: given(last_day)?,
    })
}

fn timezone(entry: &Entry<'_>) -> Option<TimeZone> {
    let text = entry.text()?;
    let found = TimeZone::get(&text).ok();
    if found.is_none() {
        entry.error_help(
            format!("{} is not a time zone", text.shown()),
            "write it like \"Europe/Berlin\" or \"UTC\"",
        );
    }
    found
}

/// `start_time` and `end_time`, both or none.
fn times(reader: &Reader<'_>) -> Option<Option<(u16, u16)>> {
    let (start, end) = match (reader.get("start_time"), reader.get("end_time")) {
        (None, None) => return Some(None),
        (Some(start), Some(end)) => (start, end),
        (Some(_), None) => {
            reader.missing("end_time", "a start_time needs it");
            return None;
        }
        (None, Some(_)) => {
            reader.missing("start_time", "an end_time needs it");
            return None;
        }
    };
    let (from, to) = (time(&start), time(&end));
    let (from, to) = (from?, to?);
    if from == to || from == MIDNIGHT {
        start.error_help(
            "begins where it ends",
            "leave both out for the whole day, which is from \"00:00\" to \"24:00\"",
        );
        return None;
    }
    Some(Some((from, to)))
}

/// `HH:MM`, in minutes since midnight.
fn time(entry: &Entry<'_>) -> Option<u16> {
    let text = entry.text()?;
    let digits = |part: &str| -> Option<u16> {
        let plain = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| part.parse().ok())?
    };
    let minutes = text.split_once(':').and_then(|(hours, minutes)| {
        let (hours, minutes) = (digits(hours)?, digits(minutes)?);
        let total = hours * 60 + minutes;
        (minutes < 60 && total <= MIDNIGHT).then_some(total)
    });
    if minutes.is_none() {
        entry.error_help(
            format!("{} is not a time of day", text.shown()),
            "write it like \"09:00\"",
        );
    }
    minutes
}

fn date(entry: &Entry<'_>) -> Option<Date> {
    let text = entry.text()?;
    let plain = text.len() == 10;
    let date = text.parse().ok().filter(|_| plain);
    if date.is_none() {
        entry.error_help(
            format!("{} is not a date", text.shown()),
            "write it like \"2026-01-31\"",
        );
    }
    date
}
