// @ts-check
// Asks again and again, one call at a time, and only while someone can see the answer.

/**
 * @template T
 * @param {object} parts
 * @param {() => Promise<T>} parts.ask
 * @param {(answer: T) => void} parts.onAnswer
 * @param {(error: Error) => void} parts.onError
 * @param {number} parts.everyMs
 */
export function poll({ ask, onAnswer, onError, everyMs }) {
  const turn = async () => {
    if (!document.hidden) await ask().then(onAnswer, onError);
    setTimeout(turn, everyMs);
  };
  void turn();
}
