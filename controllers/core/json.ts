/** @returns undefined when the text is not JSON: whoever reads what others wrote checks its shape next */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
