// The procedures that tests of process pools call, and the functions behind
// them, of which some end their process.

#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "troupe/procedure.hpp"

namespace test {

/// A type of its own.
struct point {
  int x = 0;
  std::vector<std::string> names;
};

template <class Inspector>
auto inspect(Inspector& f, point& value) {
#if TROUPE_CAF_1
  return f.object(value).fields(f.field("x", value.x),
                                f.field("names", value.names));
#else
  return f(value.x, value.names);
#endif
}

/// What a call leaves behind and does, so that a test can tell how often it was
/// made.
struct errand {
  /// Where there are files.
  std::string folder;
  int number = 0;
  /// "", "throw", "kill", "kill once" or "hold".
  std::string how;
};

template <class Inspector>
auto inspect(Inspector& f, errand& value) {
#if TROUPE_CAF_1
  return f.object(value).fields(f.field("folder", value.folder),
                                f.field("number", value.number),
                                f.field("how", value.how));
#else
  return f(value.folder, value.number, value.how);
#endif
}

/// Appends a line with its number to the file "made" in the folder, then does
/// as it is told. Returns the number of its process.
inline constexpr troupe::procedure<"run_errand", int(errand)> run_errand;

/// As above, and may run twice.
inline constexpr troupe::procedure<"run_errand_again", int(errand)>
    run_errand_again{troupe::idempotent};

inline constexpr troupe::procedure<"echo", std::string(std::string)> echo;
inline constexpr troupe::procedure<"twice", int(int)> twice;
inline constexpr troupe::procedure<"add", int(int a, int b)> add;
inline constexpr troupe::procedure<"move", point(const point& from, int by)>
    move;
inline constexpr troupe::procedure<"process_id", int()> process_id;
inline constexpr troupe::procedure<"fail", void(std::string text)> fail;
inline constexpr troupe::procedure<"letters", std::string(std::uint64_t n)>
    letters;
inline constexpr troupe::procedure<"print", void(std::string text)> print;

/// Ends the process by a signal, or by `exit` for 0; returns the number if that
/// is negative.
inline constexpr troupe::procedure<"end_by", int(int signal)> end_by;

/// Ends the process the first time: when there is no such file yet.
inline constexpr troupe::procedure<"end_once", int(std::string file)> end_once{
    troupe::idempotent};

/// Ends the process each time, and leaves a letter in the file.
inline constexpr troupe::procedure<"end_always", int(std::string file)>
    end_always{troupe::idempotent};

/// As above, and may not run twice.
inline constexpr troupe::procedure<"end_counted", int(std::string file)>
    end_counted;

/// Writes the number of its process to the FIFO "arrived" in the folder, then
/// waits for a byte from the FIFO "open" there.
inline constexpr troupe::procedure<"hold", int(std::string folder)> hold;

/// As above, and ignores SIGTERM.
inline constexpr troupe::procedure<"hold_deaf", int(std::string folder)>
    hold_deaf;

/// As `hold`, leaves a letter in the file "letters" of the folder, and may run
/// twice.
inline constexpr troupe::procedure<"hold_again", int(std::string folder)>
    hold_again{troupe::idempotent};

/// As above, and may not run twice.
inline constexpr troupe::procedure<"hold_counted", int(std::string folder)>
    hold_counted;

/// Later, when the FIFO "open" says so, sends what nobody has asked for.
inline constexpr troupe::procedure<"chatter", void(std::string folder)> chatter;

/// Sends what is no answer, and returns.
inline constexpr troupe::procedure<"babble", int(int)> babble;

/// Is not known anywhere.
inline constexpr troupe::procedure<"nowhere", int()> nowhere;

inline void append_letter(const std::string& file) {
  std::ofstream{file, std::ios::app} << 'x' << std::flush;
}

inline int pass_gate(const std::string& folder) {
  std::ofstream{folder + "/arrived"} << ::getpid() << '\n' << std::flush;
  std::ifstream{folder + "/open"}.get();
  return ::getpid();
}

inline void end_this_process(int signal) {
  if (signal == 0)
    std::_Exit(3);
  // Not a handler that a sanitizer may have put there.
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

inline int make_errand(const errand& what) {
  auto line = std::to_string(what.number) + '\n';
  auto file = ::open((what.folder + "/made").c_str(),
                     O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  // In one go, so that lines of several processes do not mix.
  auto written = ::write(file, line.data(), line.size());
  ::close(file);
  if (written != static_cast<ssize_t>(line.size()))
    throw std::runtime_error{"cannot leave a line"};
  if (what.how == "throw")
    throw std::out_of_range{line};
  if (what.how == "kill")
    end_this_process(SIGKILL);
  if (what.how == "kill once") {
    auto mark = what.folder + "/killed";
    if (::access(mark.c_str(), F_OK) != 0) {
      append_letter(mark);
      end_this_process(SIGKILL);
    }
  }
  if (what.how == "hold")
    pass_gate(what.folder);
  return ::getpid();
}

inline troupe::procedures all_procedures() {
  troupe::procedures result;
  result.add(echo, [](std::string text) { return text; })
      .add(twice, [](int x) { return 2 * x; })
      .add(run_errand, &make_errand)
      .add(run_errand_again, &make_errand)
      .add(add, [](int a, int b) { return a + b; })
      .add(move,
           [](const point& from, int by) {
             return point{from.x + by, from.names};
           })
      .add(process_id, &::getpid)
      .add(fail, [](const std::string& text) { throw std::out_of_range{text}; })
      .add(letters, [](std::uint64_t n) { return std::string(n, 'a'); })
      .add(print,
           [](const std::string& text) {
             std::cout << text;
             std::cerr << "err: " << text;
           })
      .add(end_by,
           [](int signal) {
             if (signal >= 0)
               end_this_process(signal);
             return signal;
           })
      .add(end_once,
           [](const std::string& file) {
             if (::access(file.c_str(), F_OK) != 0) {
               append_letter(file);
               end_this_process(SIGKILL);
             }
             return 1;
           })
      .add(end_always,
           [](const std::string& file) {
             append_letter(file);
             end_this_process(SIGABRT);
             return 0;
           })
      .add(end_counted,
           [](const std::string& file) {
             append_letter(file);
             end_this_process(SIGABRT);
             return 0;
           })
      .add(hold, &pass_gate)
      .add(hold_deaf,
           [](const std::string& folder) {
             std::signal(SIGTERM, SIG_IGN);
             return pass_gate(folder);
           })
      .add(hold_again,
           [](const std::string& folder) {
             append_letter(folder + "/letters");
             return pass_gate(folder);
           })
      .add(hold_counted,
           [](const std::string& folder) {
             append_letter(folder + "/letters");
             return pass_gate(folder);
           })
      .add(babble,
           [](int x) {
             static_cast<void>(::write(3, "hello, this is no answer", 24));
             return x;
           })
      .add(chatter, [](std::string folder) {
        std::thread{[folder = std::move(folder)] {
          std::ifstream{folder + "/open"}.get();
          static_cast<void>(::write(3, "hello", 5));
          std::ofstream{folder + "/arrived"} << "1\n" << std::flush;
        }}.detach();
      });
  return result;
}

} // namespace test
