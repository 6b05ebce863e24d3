/**
 * Sentences of decisions hold ages and counts that change with every look. One that differs from the one before by its figures only is the same sentence: it is
 * neither logged nor written again.
 */
export function createSayer() {
  let said = '';
  return (sentence: string): string => {
    if (shape(sentence) !== shape(said)) said = sentence;
    return said;
  };
}

/** Names of members keep their figures. */
function shape(sentence: string): string {
  return sentence.replace(/(?<![\w-])\d+(\.\d+)?/g, '#');
}
