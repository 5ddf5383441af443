#include "grapheme_clusters.h"

#include "range_table.h"
#include "unicode_tables.h"
#include "utf8.h"

namespace arcmobile::tokenizer {
namespace {

constexpr char kCarriageReturn = 'R';
constexpr char kLineFeed = 'F';
constexpr char kControl = 'C';
constexpr char kExtend = 'E';
constexpr char kLinker = 'K';     // also extends; links Indic consonants
constexpr char kNonJoiner = 'N';  // also extends; ends an Indic conjunct
constexpr char kJoiner = 'Z';     // U+200D
constexpr char kSpacingMark = 'S';
constexpr char kPrepend = 'P';
constexpr char kConsonant = 'I';  // of Indic conjuncts
constexpr char kPictograph = 'X';
constexpr char kHangulL = 'L';
constexpr char kHangulV = 'V';
constexpr char kHangulT = 'T';
constexpr char kHangulLv = 'A';
constexpr char kHangulLvt = 'B';

constexpr char32_t kDelete = 0x7F;
constexpr char32_t kFirstSyllable = 0xAC00;
constexpr char32_t kLastSyllable = 0xD7A3;
constexpr char32_t kTrailingConsonants = 28;

char class_of(char32_t character) {
  static const RangeTable table(kGraphemeBreaks);
  if (character == '\r') return kCarriageReturn;
  if (character == '\n') return kLineFeed;
  if (character < ' ' || character == kDelete) return kControl;
  if (character >= kFirstSyllable && character <= kLastSyllable) {
    return (character - kFirstSyllable) % kTrailingConsonants == 0 ? kHangulLv : kHangulLvt;
  }
  return table.class_of(character);
}

bool is_control(char kind) {
  return kind == kControl || kind == kCarriageReturn || kind == kLineFeed;
}

bool extends(char kind) { return kind == kExtend || kind == kLinker || kind == kNonJoiner; }

bool joins_syllable(char left, char right) {
  switch (left) {
    case kHangulL:
      return right == kHangulL || right == kHangulV || right == kHangulLv || right == kHangulLvt;
    case kHangulLv:
    case kHangulV:
      return right == kHangulV || right == kHangulT;
    case kHangulLvt:
    case kHangulT:
      return right == kHangulT;
    default:
      return false;
  }
}

// What of the cluster before its last character matters.
class ClusterContext {
 public:
  void add(char kind) {
    joined_pictograph_ = kind == kJoiner && pictograph_;
    pictograph_ = kind == kPictograph || (pictograph_ && extends(kind));
    linked_ = consonant_ &&
              (kind == kLinker || (linked_ && (kind == kExtend || kind == kJoiner)));
    consonant_ = kind == kConsonant ||
                 (consonant_ && (kind == kExtend || kind == kLinker || kind == kJoiner));
  }

  // Rules GB3 to GB11 and GB999 in their order.
  bool breaks(char left, char right) const {
    if (left == kCarriageReturn && right == kLineFeed) return false;
    if (is_control(left) || is_control(right)) return true;
    if (joins_syllable(left, right)) return false;
    if (extends(right) || right == kJoiner || right == kSpacingMark) return false;
    if (left == kPrepend) return false;
    if (right == kConsonant && linked_) return false;
    return !(right == kPictograph && joined_pictograph_);
  }

 private:
  bool pictograph_ = false;         // pictograph extend*
  bool joined_pictograph_ = false;  // pictograph extend* joiner
  bool consonant_ = false;          // consonant (extend | linker)*
  bool linked_ = false;             // the same, with a linker in it
};

}  // namespace

std::size_t grapheme_cluster_end(std::string_view text, std::size_t start) {
  CodePoint left = code_point_at(text, start);
  std::size_t at = start + left.size;
  ClusterContext context;
  while (at < text.size()) {
    const CodePoint right = code_point_at(text, at);
    const char left_class = class_of(left.value);
    context.add(left_class);
    if (context.breaks(left_class, class_of(right.value))) break;
    at += right.size;
    left = right;
  }
  return at;
}

}  // namespace arcmobile::tokenizer
