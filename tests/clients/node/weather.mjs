export const question = 'What is the weather in Rome?';
export const seen = 'sunny, 21 degrees';
