//! Times as a histogram: three significant digits, so that percentiles far out are as good as the
//! median, and repeats can be merged instead of averaging their percentiles.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{
    Deserializer as HistogramReader, Serializer as _, V2DeflateSerializer,
};
use serde::de::Error as _;
use serde::ser::{Error as _, SerializeStruct as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest time that is told apart from longer ones.
const LONGEST: Duration = Duration::from_secs(3600);
const SIGNIFICANT_DIGITS: u8 = 3;

/// Times in nanoseconds, from 1 ns to an hour; longer ones count as an hour.
#[derive(Clone, Debug)]
pub(crate) struct Distribution(Histogram<u64>);

impl Distribution {
    /// Returns a distribution without times.
    pub(crate) fn new() -> Self {
        let longest = nanoseconds(LONGEST);
        let empty = Histogram::new_with_bounds(1, longest, SIGNIFICANT_DIGITS);
        Self(empty.expect("an hour fits the histogram"))
    }

    #[inline]
    pub(crate) fn record(&mut self, nanoseconds: u64) {
        self.0.saturating_record(nanoseconds);
    }

    /// Adds the times of `other`, as if they had been recorded here.
    pub(crate) fn merge(&mut self, other: &Self) {
        let added = self.0.add(&other.0);
        added.expect("all distributions have the same bounds");
    }

    /// Forgets all times.
    pub(crate) fn clear(&mut self) {
        self.0.reset();
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    /// Returns the time in nanoseconds that `percent` % of all are not over; 0 when there are none.
    pub(crate) fn percentile(&self, percent: f64) -> u64 {
        self.0.value_at_percentile(percent)
    }

    /// Returns the mean in nanoseconds; 0 when there are none.
    pub(crate) fn mean(&self) -> f64 {
        self.0.mean()
    }

    /// Returns the standard deviation of these times, in nanoseconds; 0 when there are none.
    pub(crate) fn deviation(&self) -> f64 {
        self.0.stdev()
    }

    /// Returns the longest time in nanoseconds; 0 when there are none.
    pub(crate) fn max(&self) -> u64 {
        self.0.max()
    }

    /// Returns the histogram itself, for files of its own formats.
    pub(crate) fn histogram(&self) -> &Histogram<u64> {
        &self.0
    }
}

impl Serialize for Distribution {
    /// Figures in nanoseconds, and the histogram in HdrHistogram's compressed V2 encoding as
    /// base64, from which all else can be made again.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut encoded = Vec::new();
        V2DeflateSerializer::new()
            .serialize(&self.0, &mut encoded)
            .map_err(S::Error::custom)?;
        let min = if self.count() == 0 { 0 } else { self.0.min() };
        let mut fields = serializer.serialize_struct("Distribution", 11)?;
        fields.serialize_field("unit", "ns")?;
        fields.serialize_field("count", &self.count())?;
        fields.serialize_field("mean", &self.mean())?;
        fields.serialize_field("deviation", &self.deviation())?;
        fields.serialize_field("min", &min)?;
        fields.serialize_field("p50", &self.percentile(50.0))?;
        fields.serialize_field("p90", &self.percentile(90.0))?;
        fields.serialize_field("p99", &self.percentile(99.0))?;
        fields.serialize_field("p99_9", &self.percentile(99.9))?;
        fields.serialize_field("max", &self.max())?;
        fields.serialize_field("hdrhistogram_v2", &STANDARD.encode(encoded))?;
        fields.end()
    }
}

impl<'de> Deserialize<'de> for Distribution {
    /// Reads the encoded histogram alone.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Encoded {
            hdrhistogram_v2: String,
        }
        let Encoded { hdrhistogram_v2 } = Encoded::deserialize(deserializer)?;
        let bytes = STANDARD.decode(hdrhistogram_v2).map_err(D::Error::custom)?;
        let read: Histogram<u64> = HistogramReader::new()
            .deserialize(&mut bytes.as_slice())
            .map_err(|error| D::Error::custom(format!("no histogram: {error}")))?;
        // Into one with the bounds that all have here, so that they can be merged.
        let mut times = Self::new();
        times.0.add(&read).map_err(D::Error::custom)?;
        Ok(times)
    }
}

/// Converts to whole nanoseconds, some 584 years at most.
pub(crate) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_is_recording_everything_in_one() {
        let (mut quick, mut slow, mut both) = (
            Distribution::new(),
            Distribution::new(),
            Distribution::new(),
        );
        for time in 1..=1000 {
            quick.record(time);
            slow.record(time * 1000);
            both.record(time);
            both.record(time * 1000);
        }
        quick.merge(&slow);
        assert_eq!(quick.histogram(), both.histogram());
        // Not the mean of 500 and 500,000: half of all times are the quick ones.
        assert_eq!(quick.percentile(50.0), 1000);
    }

    #[test]
    fn the_encoded_histogram_is_the_histogram() {
        let mut times = Distribution::new();
        [3, 70, 5_000_000, u64::MAX]
            .into_iter()
            .for_each(|time| times.record(time));
        let json = serde_json::to_value(&times).expect("it is plain data");
        let decoded = Distribution::deserialize(&json).expect("it was encoded just now");
        assert_eq!(decoded.histogram(), times.histogram());
        assert_eq!(json["count"], 4);
        assert_eq!(json["p50"], 70);
        assert!(
            times.max() >= nanoseconds(LONGEST),
            "longer than an hour counts as an hour"
        );
    }

    #[test]
    fn what_is_no_histogram_is_an_error() {
        for bad in ["", "%", "AAAA", "HISTFAAAAAAAAAA="] {
            let json = serde_json::json!({ "hdrhistogram_v2": bad });
            assert!(Distribution::deserialize(&json).is_err(), "{bad}");
        }
    }

    #[test]
    fn nothing_recorded_is_zero_everywhere() {
        let json = serde_json::to_value(Distribution::new()).expect("it is plain data");
        for figure in ["count", "mean", "deviation", "min", "p50", "p99_9", "max"] {
            assert_eq!(json[figure].as_f64(), Some(0.0), "{figure}");
        }
    }
}
