/* Stands in for arcmobile-run in the tests of the benchmark harness: takes the same options, makes
 * no sound, and prints figures that follow from them. A prompt can ask it to misbehave. */

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char* option(int count, char** words, const char* name, const char* otherwise) {
  for (int i = 1; i + 1 < count; ++i) {
    if (strcmp(words[i], name) == 0) return words[i + 1];
  }
  return otherwise;
}

static int given(int count, char** words, const char* name) {
  for (int i = 1; i < count && strcmp(words[i], "--") != 0; ++i) {
    if (strcmp(words[i], name) == 0) return 1;
  }
  return 0;
}

static void print_escaped(const char* text) {
  for (; *text; ++text) {
    if (*text == '"' || *text == '\\') {
      printf("\\%c", *text);
    } else if ((unsigned char)*text < 0x20) {
      printf("\\u%04x", *text);
    } else {
      putchar(*text);
    }
  }
}

static void print_repeated(const char* name, int times, double value) {
  printf("\"%s\": [", name);
  for (int i = 0; i < times; ++i) printf("%s%.6f", i ? ", " : "", value);
  printf("], ");
}

int main(int count, char** words) {
  const char* bundle = words[count - 2];
  const char* prompt = words[count - 1];
  char manifest[4096];
  snprintf(manifest, sizeof manifest, "%s/manifest.json", bundle);
  if (count < 3 || access(manifest, R_OK) != 0) {
    fprintf(stderr, "error: %s: no such file; give a bundle\n", manifest);
    return 2;
  }
  if (strcmp(prompt, "crash") == 0) raise(SIGSEGV);
  if (strcmp(prompt, "hang") == 0) sleep(600);
  while (strcmp(prompt, "chatter") == 0) puts("and on and on");
  while (strcmp(prompt, "complaint") == 0) fputs("no line ever ends ", stderr);
  if (strcmp(prompt, "rubbish") == 0) return puts("{\"threads\": ") < 0;
  if (strcmp(prompt, "refuse") == 0) return fputs("error: dit.pte: is damaged\n", stderr), 2;

  const int steps = atoi(option(count, words, "--steps", "8"));
  const int threads = atoi(option(count, words, "--threads", "1"));
  const char* seed = strcmp(prompt, "other seed") == 0 ? "99" : option(count, words, "--seed", "0");
  const char* etdump = option(count, words, "--etdump", "");
  const double load = given(count, words, "--cold") ? 0.5 : 0.1;
  const double step = 0.4 / threads;
  const double compute = 0.01 + 0.09 + steps * step + 2 * 0.3;
  if (*etdump) {
    char path[4096];
    snprintf(path, sizeof path, "%s.dit.etdp", etdump);
    FILE* file = fopen(path, "w");
    if (!file || fputs("trace", file) < 0 || fclose(file) != 0) return 2;
  }
  printf("{\"stats_version\": 1, ");
  printf("\"runner\": {\"version\": \"0.1.0\", \"executorch\": \"1.5.1\", \"abi\": \"stand-in\"}, ");
  printf("\"cpu\": {\"name\": \"Stand-in\", \"features\": [\"asimd\", \"asimddp\"], \"cores\": 8}, ");
  printf("\"file\": null, \"prompt\": \"");
  print_escaped(prompt);
  printf("\", \"seed\": %s, \"model\": \"m\", \"recipe\": \"mobile\", ", seed);
  printf("\"backend\": \"executorch\", \"threads\": %d, \"steps\": %d, ", threads, steps);
  printf("\"frames\": 30, \"decoder_windows\": [30, 11], ");
  printf("\"seconds\": 1.2, \"sample_rate\": 100, ");
  printf("\"load_seconds\": {\"conditioner\": %.3f, \"dit\": %.3f, \"decoder\": %.3f}, ", load, load,
         load);
  printf("\"tokenize_seconds\": 0.01, \"conditioner_seconds\": 0.09, \"encoder_seconds\": 0.0, ");
  print_repeated("dit_step_seconds", steps, step);
  print_repeated("decode_window_seconds", 2, 0.3);
  printf("\"first_audio_seconds\": %.6f, \"compute_seconds\": %.6f, ", compute + 3 * load - 0.3,
         compute);
  printf("\"total_seconds\": %.6f, \"rtf\": %.6f, ", compute + 3 * load, compute / 1.2);
  printf("\"peak_memory_bytes\": {\"conditioner\": 1000000, \"dit\": 3000000, ");
  printf("\"decoder\": 2000000}, \"process_peak_bytes\": 3500000, ");
  printf("\"resident_after_bytes\": {}, \"clipped_samples\": 0, \"warnings\": []}\n");
  return 0;
}
